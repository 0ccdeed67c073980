"""Each call that help texts and documentation show is one that the program accepts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.cli.main import cli
from tests.certmgr.cli.examples import (
    Example,
    of_help,
    of_messages,
    of_page,
    refused,
    unknown_option,
)
from tests.program import Ran
from tests.test_docs import DOCS, ROOT, commands

Runner = Callable[..., Ran]
PAGES = [p for p in DOCS if p.name != "CHANGELOG.md"]


def test_every_call_in_a_help_text_is_accepted() -> None:
    found = [e for name, c in commands(cli) for e in of_help(name, c.help or "")]
    found += of_help("certmgr", cli.help or "")
    assert len(found) > 20
    assert [(e.source, e.words, reason) for e in found if (reason := refused(e))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_call_on_a_page_is_accepted(page: Path) -> None:
    found = list(of_page(page))
    assert [(" ".join(e.words), reason) for e in found if (reason := refused(e))] == []


def test_every_option_in_a_message_exists() -> None:
    paths = [
        p for room in ("certmgr", "inventory", "notifiers") for p in (ROOT / room).rglob("*.py")
    ]
    found = [e for path in paths for e in of_messages(path)]
    assert len(found) > 500
    assert [(e.source, e.words, word) for e in found if (word := unknown_option(e))] == []


def test_wrong_option_in_a_message_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("raise E(f'No {x}. See certmgr client list --retird. Or certmgr run --x.')")
    assert [unknown_option(e) for e in of_messages(module)] == ["--retird", "--x"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("certmgr status --caues", "--caues"),
        ("certmgr stauts", "there is no command 'stauts'"),
        ("certmgr client show", "is missing"),
        ("certmgr status shop.example.com", "too many arguments: ['shop.example.com']"),
        ("certmgr explain CODE --for ngnix", "'ngnix' is not one of"),
        ("sudo certmgr notice list | grep x && certmgr notice nothing", "'nothing'"),
    ],
)
def test_wrong_call_is_found(line: str, reason: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```\n{line}\n```\n")
    assert any(reason in refused(e) for e in of_page(page))


# Pages whose calls run one after another, and how many: in an inventory with the client that they
# name, or in an empty one.
IN_INVENTORY = {
    "docs/compliance.md": 2,
    "docs/purchases.md": 8,
    "docs/reports.md": 5,
    "docs/notices.md": 4,
    "docs/revocation.md": 2,
    "docs/tasks/a-client-calls.md": 2,
    "docs/tasks/every-morning.md": 5,
    "docs/tasks/several-machines.md": 3,
}
IN_EMPTY = {"README.md": 3, "docs/tasks/first-day.md": 4}
# What visits sites, waits for jobs, asks the reader, or needs a file that the reader has.
_NOT_HERE = ("scan", "diagnose", "worker", "run", "init", "import", "database", "doctor")


def _runs(example: Example) -> bool:
    words = example.words
    changed_by_reader = not {"NAME", "DATE"}.isdisjoint(words)
    # Both need an expired certificate, which a scan would have found.
    assigns = words[0] == "finding"
    # A client gets a badge after a scan without a fault.
    badge = "badge" in words
    if changed_by_reader or assigns or badge or not example.whole:
        return False
    return words[0] not in _NOT_HERE


@pytest.mark.parametrize("page", [*IN_INVENTORY, *IN_EMPTY])
def test_calls_of_a_page_run(
    certmgr: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if page in IN_INVENTORY:
        assert certmgr("client", "add", "1001", "Example Ltd").code == 0
        names = ("shop.example.com", "www.shop.example.com", "www.blumen-meier.example")
        assert certmgr("domain", "add", *names, "--client", "1001").code == 0
    examples = [e for e in of_page(ROOT / page) if _runs(e)]
    run = [e for e in examples if e.words[0] != "--config"]
    assert len(run) >= (IN_INVENTORY | IN_EMPTY)[page]
    for example in run:
        ran = certmgr(*example.words)
        assert ran.code in (0, 1), (example.words, ran.err)
