"""The command ``certmgr report``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.demo.servers import server_context
from tests.certmgr.report.provider import ReportProvider, States
from tests.program import Ran
from tests.servers import chromium

Run = Callable[..., Ran]


def test_report_is_written_in_each_format(
    provider: ReportProvider, certmgr: Run, tmp_path: Path
) -> None:
    provider.client("1001", "One")
    provider.site(
        "1001", "one.example.test", server_context(provider.issuer.issue("one.example.test"))
    )
    provider.scan()
    base = ("--database", str(tmp_path / "inventory.db"), "report")
    for output_format in ("html", "pdf", "csv", "json"):
        result = certmgr(
            *base,
            "--client",
            "1001",
            "--format",
            output_format,
            "--output",
            str(tmp_path / f"r.{output_format}"),
        )
        assert result.code == 0, result.err
        assert "1 site(s): 1 in order." in result.out
        assert (tmp_path / f"r.{output_format}").stat().st_size > 100
        assert (tmp_path / f"r.{output_format}").stat().st_mode & 0o777 == 0o600
    assert (
        certmgr(*base, "--client", "1001", "--format", "json").json["schema"] == "certmgr.report/1"
    )
    assert certmgr(*base, "--client", "1001", "--language", "de").out.count('<html lang="de">') == 1


def test_index_passes_axe_and_links_each_report(
    all_states: States, browser: chromium.Browser, tmp_path: Path, certmgr: Run
) -> None:
    result = certmgr(
        "--database", str(all_states[0].path), "report", "--all", "--output", str(tmp_path / "out")
    )
    assert result.code == 0, result.err
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [
        "client-act.html",
        "client-good.html",
        "client-ours.html",
        "client-unknown.html",
        "index.html",
    ]
    for options in ({}, {"dark": True}, {"width": 360}):
        browser.open(tmp_path / "out" / "index.html", **options)
        assert browser.violations() == []
    links = browser.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    assert sorted({a for a in links if not a.startswith("#")}) == names[:-1]
    # The links within the page lead to something.
    for anchor in {a for a in links if a.startswith("#")}:
        assert browser.evaluate(f"!!document.getElementById('{anchor[1:]}')"), anchor


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "The report has no client"),
        (("--client", "4711"), 2, "no client"),
        (("--client", "1", "--all"), 2, "--client and --all exclude each other"),
        (("--client", "1", "--days", "30"), 2, "--days belongs to --support"),
        (("--all",), 2, "--output is missing"),
        (("--client", "1", "--format", "pdf"), 2, "--output is missing"),
        (("--client", "1", "--as-of", "30.6."), 2, "is not a date"),
        (("--client", "1", "--language", "tlh"), 2, "no language"),
        (("--client", "1", "--output", "/nowhere/at/all.html"), 3, "cannot be written"),
        (("--all", "--output", "/proc/nowhere"), 3, "cannot be created"),
    ],
)
def test_invalid_options_print_one_line(
    certmgr: Run, arguments: tuple[str, ...], code: int, message: str
) -> None:
    certmgr("client", "add", "1", "One")
    result = certmgr("report", *arguments)
    assert result.code == code, result.err
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
