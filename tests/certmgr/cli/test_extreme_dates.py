"""Certificates with dates at the ends of the calendar, through all commands that use dates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.demo.servers import Server, server_context, tls
from inventory.store import endpoints
from inventory.targets import Target
from tests.certmgr.installation import Installation
from tests.certmgr.scanning import add_endpoint
from tests.certmgr.tls_servers import Stack
from tests.databases import open_sqlite
from tests.private_ca import resigned, with_dates

DATES = {
    "endless.example.test": ("20200101000000Z", "99991231235959Z"),
    "all.example.test": ("00010101000000Z", "99991231235959Z"),
    "ancient.example.test": ("00010101000000Z", "00010101000000Z"),
    "zero.example.test": ("00000101000000Z", "00001231235959Z"),
    "forties.example.test": ("19400101000000Z", "19490101000000Z"),
    "distant.example.test": ("99991231235959Z", "99991231235959Z"),
    "far.example.test": ("20200101000000Z", "30000101000000Z"),
}
EXPIRED = {"ancient.example.test", "zero.example.test", "forties.example.test"}


def _issue(root: Authority, host: str, dates: tuple[str, str]) -> IssuedCertificate:
    issued = root.issue(host)
    leaf = resigned(issued.certificate, root.key, with_dates(*dates))
    return IssuedCertificate(leaf, issued.key, (leaf,))


def _without_errors(ran: Any, *arguments: str) -> str:
    text = f"{ran.out}{ran.err}"
    for words in ("internal error", "Traceback", "OverflowError", "out of range", "Errno"):
        assert words not in text, (arguments, text[-2000:])
    # The monitoring plug-in returns 2 for a critical state, and other commands for a wrong call.
    accepted = (0, 1, 2, 3) if arguments[0] == "check" else (0, 1, 3)
    assert ran.code in accepted, (arguments, ran.code, ran.err)
    return text


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_no_command_fails_for_a_date_at_the_end_of_the_calendar(
    installation: Installation, root: Authority, opened: Stack, zone: str
) -> None:
    database = open_sqlite(installation.database)
    with database.write() as tx:
        endpoints.retire(tx, Target("parked.example.test"))
        for host, dates in DATES.items():
            server = Server(tls(server_context(_issue(root, host, dates))))
            opened.callback(server.close)
            add_endpoint(tx, host, server.port, client="1001")
    database.close()
    config = installation.folder / "certmgr.toml"
    config.write_text(config.read_text().replace("[provider]", f'[provider]\ntime_zone = "{zone}"'))
    pages = installation.folder / "reports"
    folder = str(pages)
    hosts = tuple(DATES)
    commands: list[tuple[str, ...]] = [
        ("scan", "--format", "json"),
        ("scan",),
        ("status",),
        ("status", "--format", "json"),
        ("status", "--causes"),
        ("status", "--as-of", "2050-01-01"),
        ("finding", "list"),
        ("compliance",),
        ("compliance", "--format", "json"),
        ("deadline", "list"),
        *[("report", "--client", "1001", "--format", f) for f in ("html", "json", "csv")],
        ("report", "--all", "--output", folder),
        ("forecast", "--until", "2035-01-01"),
        ("calendar",),
        ("metrics",),
        ("export",),
        ("notify", "--dry-run"),
        ("notify",),
        ("notice", "list"),
        ("run",),
        *[("domain", "show", h) for h in hosts],
        *[("domain", "show", h, "--format", "json") for h in hosts],
        ("check", "--client", "1001"),
        *[("case", "open", "1001", h) for h in hosts[:3]],
        ("case", "list"),
        ("calendar",),
        ("run",),
    ]
    texts = {c: _without_errors(installation.run(*c, expect=None), *c) for c in commands}
    installation.release_all()
    _without_errors(installation.run("notify", expect=None), "notify")
    rows = {row["host"]: row for row in json.loads(texts["scan", "--format", "json"])["endpoints"]}
    assert set(rows) == set(DATES)
    for host, row in rows.items():
        codes = {f["code"] for f in row["findings"] if f["severity"] != "info"}
        expected = {"certificate-expired"} if host in EXPIRED else set()
        if host == "distant.example.test":
            expected = {"certificate-not-yet-valid"}
        assert codes == expected, host
    assert rows["endless.example.test"]["certificate"]["not_after"] == "9999-12-31T23:59:59Z"
    assert rows["ancient.example.test"]["certificate"]["not_before"] == "0001-01-01T00:00:00Z"
