"""Tests of tables: their layout, and each listing command at four widths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from certmgr.cli import tables
from certmgr.cli.main import cli
from certmgr.cli.tables import Column, Overflow, arrange, columns_of, cut, fold, row_lines
from tests.certmgr import provider_inventory
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran, run
from tests.test_docs import commands

WIDTHS = (60, 80, 100, 140)
HOST = provider_inventory.host_name(1)
LISTINGS = (
    *("account list", "audit list", "case list", "case measures", "client list", "compliance"),
    *("compliance --all", "contact list", "deadline list", "domain list", "doctor"),
    *("endpoint list", "finding list", "finding list --accepted", "finding list --assigned"),
    *("forecast --until 2027-12-31", "forecast --until 2027-12-31 --by client", "incident list"),
    *("lineage list", "notice list", "notice snoozes", f"notify --explain {HOST}"),
    *(
        "purchase list",
        f"purchase compare {HOST}",
        "renew --due --dry-run",
        "report --support",
        "server list",
    ),
    *("status", "status --all", "status --causes", "trust list"),
    *(f"domain show {HOST}", f"domain show {HOST} --history", "client show 10001"),
    *("purchase show id:1", f"endpoint show {HOST}", "server show web1"),
    *("account cas", "solver list", "zone list", "config show", "trust ends --within 400"),
    *(
        "notice calls",
        "purchase billing --month 2026-11",
        "purchase list --check",
        "finding list --closed",
    ),
    *("lineage show autohaus-and-its-many-names", f"compliance --domain {HOST} --all"),
    *("compliance --deadline chrome-68", "contact show 1", "case show CASE"),
    *("incident show INCIDENT", "notice show 1", "notice release", "trust show"),
    "revocation --dry-run",
)
# Commands that show something and have no table here.
ELSEWHERE = {
    "case verify": "probes the sites of a case: tests/certmgr/cases",
    "diagnose": "visits a site: tests/certmgr/diagnose",
    "export": "writes CSV and JSON only",
    "incident open": "opens cases; its dry run has the rows of incident show",
    "issue": "orders at a CA: tests/certmgr/acme",
    "purchase export": "writes CSV and JSON only",
    "solver record": "asks the CA of an account: tests/certmgr/acme",
    "scan": "visits sites: test_scan_report.py",
    "trust update": "reads a file: test_trust.py",
}


def test_every_command_that_shows_records_is_rendered_at_each_width() -> None:
    shows = {
        name.removeprefix("certmgr ")
        for name, command in commands(cli)
        if any("--format" in p.opts for p in command.params)
    }
    missing = {n for n in shows if not any(f"{c} ".startswith(f"{n} ") for c in LISTINGS)}
    assert missing == set(ELSEWHERE)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An inventory of 301 domains of 40 clients, with rows in each listing."""
    path = tmp_path_factory.mktemp("provider") / "inventory.db"
    clock.reset()
    database = open_sqlite(path)
    provider_inventory.fill(database)
    with database.write() as tx:
        provider_inventory.add_work(tx)
    database.close()
    return str(path)


def listed(url: str, command: str, width: int | None, **environment: str) -> Ran:
    for word, group in (("CASE", "case"), ("INCIDENT", "incident")):
        if word in command.split():
            rows = run(["--database", url, group, "list", "--format", "json"], clock).json
            command = command.replace(word, rows[f"{group}s"][0]["reference"])
    columns = {} if width is None else {"COLUMNS": str(width)}
    return run(["--database", url, *command.split()], clock, environment=columns | environment)


@pytest.mark.usefixtures("root_servers")
@pytest.mark.parametrize("command", LISTINGS)
def test_listing_fits_each_width_and_shows_no_internals(
    url: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTMGR_PROVIDER_TIME_ZONE", "Europe/Berlin")
    for width in WIDTHS:
        ran = listed(url, command, width)
        assert ran.code in ((0, 3) if command == "doctor" else (0, 1)), ran.err
        lines = ran.out.splitlines()
        assert lines
        # A command that can be pasted stays in one piece.
        too_wide = [
            line for line in lines if cell_len(line) > width and " certmgr finding " not in line
        ]
        assert not too_wide, (width, too_wide[:3])
        # The milestones of browsers are dates in UTC by their own words, and the check of this
        # machine's clock states it in UTC.
        assert not re.search(r"\dT\d\d:\d\d:\d\dZ", ran.out), "not the provider's time zone"
        assert command in ("deadline list", "doctor") or not re.search(r"\bUTC\b", ran.out)
        assert not re.search(r"\b[0-9a-f]{32,}\b|[{}]|\b(cover|fault|order):\d", ran.out)


@pytest.mark.parametrize("command", ["status", "client list", "domain list", "contact list"])
def test_pipe_gets_one_aligned_line_per_row(url: str, command: str) -> None:
    out = listed(url, command, None, COLUMNS="").out
    head, *rows = out.splitlines()
    assert "\t" not in out
    # Each column begins in the same cell of all lines of the table.
    second = head.index(re.split(r"\s{2,}", head)[1])
    table = [r for r in rows if cell_len(r) > second][:20]
    assert len(table) == 20
    assert all(_from_cell(r, second - 1).startswith(" ") for r in table)


def _from_cell(text: str, cell: int) -> str:
    """Return the text from a cell on."""
    for index in range(len(text) + 1):
        if cell_len(text[:index]) >= cell:
            return text[index:]
    return ""


def test_width_option_comes_before_columns_and_stands_before_or_after_the_command(url: str) -> None:
    after = listed(url, "client list --width 60", 140).out
    before = listed(url, "--width 60 client list", 140).out
    assert after == before
    assert max(map(cell_len, after.splitlines())) <= 60
    assert max(map(cell_len, listed(url, "client list", 140).out.splitlines())) > 60


@pytest.mark.parametrize(
    ("arguments", "environment", "coloured"),
    [
        ("status", {}, False),
        ("--color always status", {}, True),
        ("--color always status", {"NO_COLOR": "1"}, True),
        ("status", {"FORCE_COLOR": "1"}, True),
        ("status", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("status", {"FORCE_COLOR": "1", "TERM": "dumb"}, False),
    ],
)
def test_colour_follows_the_option_and_the_environment(
    url: str, arguments: str, environment: dict[str, str], coloured: bool
) -> None:
    plain = {"NO_COLOR": "", "FORCE_COLOR": "", "CLICOLOR_FORCE": "", "TERM": "xterm"}
    out = listed(url, arguments, 80, **{**plain, **environment}).out
    assert ("\x1b[" in out) is coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert bare == listed(url, "status", 80, **plain).out, "colours do not move a column"


def test_reader_that_closes_the_pipe_early_is_no_error(url: str, tmp_path: Path) -> None:
    import subprocess
    import sys

    command = f'"{sys.executable}" -m certmgr --database "{url}" client list | head -1'
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("NUMBER")


def shown(titles: Sequence[str | Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    columns = columns_of(titles)
    layout = arrange(columns, rows, width)
    lines = [line for row in rows for line in row_lines(columns, row, layout)]
    return [(" " * tables.GAP).join(line) for line in lines]


def test_one_long_value_does_not_change_the_shape_of_the_table() -> None:
    issuer = "Sectigo Public Server Authentication CA DV R36"
    rows = [[f"host{n}.example", "R12" if n else issuer, "no redirect to HTTPS"] for n in range(9)]
    lines = shown(["HOST", "ISSUER", "WHAT IS WRONG"], rows, 60)
    assert len(lines) == 9
    assert lines[0].split("  ")[-2].strip().endswith("…")
    assert all("no redirect to HTTPS" in line for line in lines)


def test_column_without_a_value_is_left_out() -> None:
    columns = columns_of(["NAME", "TAGS", "STATE"])
    assert [i for i, _ in arrange(columns, [["a", "", "x"], ["b", "", "y"]], 80).columns] == [0, 2]


def test_columns_are_left_out_by_their_priority() -> None:
    columns = [Column("A", 0), Column("B", 2, Overflow.WHOLE), Column("C", 1, Overflow.WHOLE)]
    row = ["a" * 12, "b" * 12, "c" * 12]
    assert [i for i, _ in arrange(columns, [row], 40).columns] == [0, 1, 2]
    assert [i for i, _ in arrange(columns, [row], 39).columns] == [0, 2]
    assert [i for i, _ in arrange(columns, [row], 25).columns] == [0]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("株式会社", 8, "株式会社"),
        ("株式会社", 7, "株式会…"),
        ("株式会社", 6, "株式…"),  # a wide character is never cut in half
    ],
)
def test_text_is_cut_at_whole_characters(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("expires soon at 192.0.2.1", 16, ["expires soon at", "192.0.2.1"]),
        ("owner@client10000.example", 20, ["owner@client10000.", "example"]),
        ("電子証明書の期限", 6, ["電子証", "明書の", "期限"]),
        ("aaaaaaaaa", 4, ["aaaa", "aaaa", "a"]),
        ("", 4, [""]),
    ],
)
def test_text_is_folded_at_words_then_at_separators(
    text: str, width: int, expected: list[str]
) -> None:
    assert fold(text, width) == expected


def test_folded_text_ends_with_an_ellipsis_if_lines_are_left_out() -> None:
    assert fold("one two three four", 5, most=2) == ["one", "two…"]


TEXTS = st.text(st.sampled_from("ab .株é@-"), max_size=60)


@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), min_size=1, max_size=6),
    width=st.integers(20, 160),
)
def test_no_line_is_wider_than_the_table(rows: list[tuple[str, ...]], width: int) -> None:
    columns = columns_of(["HOST", "ISSUER", "CLIENT", "WHAT IS WRONG"])
    layout = arrange(columns, rows, width)
    for row in rows:
        for line in row_lines(columns, row, layout):
            cells = [cell_len(text) for text in line]
            assert cells == [w for _, w in layout.columns]
            assert sum(cells) + tables.GAP * (len(cells) - 1) <= width
