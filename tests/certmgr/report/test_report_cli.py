"""``certmgr report``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.demo.servers import server_context
from tests.certmgr.report.village import States, Village
from tests.program import Ran
from tests.servers import chromium

Run = Callable[..., Ran]


def test_report_is_written_in_each_format(village: Village, certmgr: Run, tmp_path: Path) -> None:
    village.client("1001", "One")
    village.site(
        "1001", "one.example.test", server_context(village.issuer.issue("one.example.test"))
    )
    village.scan()
    base = ("--database", str(tmp_path / "village.db"), "report")
    for form in ("html", "pdf", "csv", "json"):
        done = certmgr(
            *base, "--client", "1001", "--format", form, "--output", str(tmp_path / f"r.{form}")
        )
        assert done.code == 0, done.err
        assert (tmp_path / f"r.{form}").stat().st_size > 100
        assert (tmp_path / f"r.{form}").stat().st_mode & 0o777 == 0o600
    assert (
        certmgr(*base, "--client", "1001", "--format", "json").json["schema"] == "certmgr.report/1"
    )
    assert certmgr(*base, "--client", "1001", "--language", "de").out.count('<html lang="de">') == 1


def test_index_passes_axe_and_links_each_report(
    all_states: States, browser: chromium.Browser, tmp_path: Path, certmgr: Run
) -> None:
    done = certmgr(
        "--database", str(all_states[0].path), "report", "--all", "--output", str(tmp_path / "out")
    )
    assert done.code == 0, done.err
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
    assert sorted(links) == names[:-1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "whom the report is for"),
        (("--client", "4711"), 2, "no client"),
        (("--client", "1", "--all"), 2, "whom the report is for"),
        (("--all",), 2, "--output is missing"),
        (("--client", "1", "--format", "pdf"), 2, "--output is missing"),
        (("--client", "1", "--as-of", "30.6."), 2, "is not a date"),
        (("--client", "1", "--language", "tlh"), 2, "no language"),
        (("--client", "1", "--output", "/nowhere/at/all.html"), 3, "cannot be written"),
        (("--all", "--output", "/proc/nowhere"), 3, "cannot be made"),
    ],
)
def test_invalid_options_print_one_line(
    certmgr: Run, arguments: tuple[str, ...], code: int, message: str
) -> None:
    certmgr("client", "add", "1", "One")
    done = certmgr("report", *arguments)
    assert done.code == code, done.err
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
