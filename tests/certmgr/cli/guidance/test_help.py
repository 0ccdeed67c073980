"""--help, help, explain, and manual pages."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from certmgr.cli.guidance.help import topics
from certmgr.cli.main import cli
from certmgr.compliance.milestones import milestones
from certmgr.compliance.rules import RULES
from inventory.finding_codes import CODES
from tests.certmgr.cli.conftest import Runner


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_every_help_fits_80_columns(certmgr: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    wide = []
    for path in [(), *commands(cli)]:
        ran = certmgr(*path, "--help")
        assert ran.code == 0
        wide += [(path, line) for line in ran.out.splitlines() if len(line) > 80]
    assert wide == []


def test_help_of_the_program_is_in_groups(certmgr: Runner) -> None:
    out = certmgr("--help").out
    headings = ["Inspect", "Inventory", "Compliance", "Notify", "Purchases and cases", "ACME",
                "Operate"]  # fmt: skip
    places = [out.index(f"\n{h}:") for h in headings]
    assert places == sorted(places)
    assert len(cli.list_commands(click.Context(cli))) == sum(
        len(c) for c in cli.commands_by_group.values()
    )


def test_every_topic_is_shown_and_fits(certmgr: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = certmgr("help").out
    for topic in topics():
        ran = certmgr("help", topic)
        assert ran.code == 0 and f"  {topic} " in listed
        assert len(ran.out.splitlines()) > 5
        assert max(map(len, ran.out.splitlines())) <= 80, topic
        assert "](" not in ran.out and "\x1b" not in ran.out


def test_help_shows_commands_and_codes_and_suggests(certmgr: Runner) -> None:
    assert "--with-proposed" in certmgr("help", "domain", "add").out
    assert certmgr("help", "chain-incomplete").out.startswith("chain-incomplete (usually high)")
    ran = certmgr("help", "complience")
    assert ran.code == 2 and "compliance" in ran.err


@pytest.mark.parametrize("code", list(CODES))
def test_every_code_is_explained(certmgr: Runner, code: str) -> None:
    ran = certmgr("explain", code)
    assert ran.code == 0
    assert " ".join(CODES[code].visitor.split()[:3]) in ran.out
    for heading in ("What it means", "What a visitor sees", "Who acts", "What to do"):
        assert heading in ran.out
    assert "{" not in ran.out.replace("{HTTP", "").replace("{REQUEST", "").replace("{ ssl", "")


def test_explain_for_one_software_rules_and_wrong_codes(certmgr: Runner) -> None:
    out = certmgr("explain", "CHAIN-incomplete", "--for", "apache").out
    assert "SSLCertificateFile" in out and "IIS" not in out
    for rule in (*RULES, *(m.name for m in milestones())):
        assert certmgr("explain", rule).code == 0, rule
    ran = certmgr("explain", "chain-incomplte")
    assert ran.code == 2 and "chain-incomplete" in ran.err
    assert certmgr("explain", "--for", "nginx").code == 2
    listed = certmgr("explain").out
    assert all(c in listed for c in CODES)


def test_manual_pages_are_valid(certmgr: Runner, tmp_path: Path) -> None:
    ran = certmgr("help", "--man", str(tmp_path / "man"))
    assert ran.code == 0
    pages = {p.name for p in (tmp_path / "man").iterdir()}
    assert {"certmgr.1", "certmgr-domain-add.1", "certmgr-targets.7"} <= pages
    text = (tmp_path / "man" / "certmgr-scan.1").read_text()
    assert ".SH OPTIONS" in text and "\\-\\-ca\\-file" in text
    # Examples keep their lines, and click's mark of such a paragraph is not printed.
    examples = (tmp_path / "man" / "certmgr-explain.1").read_text().partition(".nf\n")[2]
    assert examples.splitlines()[1].startswith("certmgr explain https")
    for page in (tmp_path / "man").iterdir():
        assert page.read_text().replace("\n", "").isprintable(), page.name
    if shutil.which("groff"):
        for page in sorted((tmp_path / "man").iterdir()):
            command = ["groff", "-man", "-Tutf8", "-ww", "-z", str(page)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert done.stderr == "", page


def test_explain_of_a_foreign_address_does_not_only_advise_to_delete(certmgr: Runner) -> None:
    out = " ".join(certmgr("explain", "foreign-address").out.split())
    assert "If the address serves another valid certificate of the name" in out
    assert "If it was set up on purpose (a CDN or a new server), keep the record" in out
    assert "add it to [network] provider" in out
