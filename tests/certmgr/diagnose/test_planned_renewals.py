"""A renewal of ours that is due in 19 days: each part of the program calls it planned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from certmgr.demo.authority import Authority
from certmgr.demo.pages import page, secure
from certmgr.demo.servers import Server, server_context
from inventory.store import certificates, lineages
from tests.certmgr.installation import Installation
from tests.certmgr.scenes.numbers import faulty_names, named_in_digest
from tests.clock import clock
from tests.databases import open_sqlite
from tests.inventory.store.builders import add_account, add_lineage

NAME = "garten.example.test"
CODE = "certificate-expiring"


@pytest.fixture
def due(installation: Installation, issuer: Authority) -> Iterator[Installation]:
    """A site whose certificate ends in 19 days, and which we renew."""
    now = clock()
    issued = issuer.issue(
        NAME, not_before=now - timedelta(days=161), not_after=now + timedelta(days=19)
    )
    site = Server(secure(server_context(issued), lambda host, path: page("Garten")))
    try:
        installation.add_endpoints(NAME, port=site.port)
        installation.run("client", "edit", "1001", "--buys", "us", "--renews", "us")
        # The other site of the installation is no part of this.
        installation.run("domain", "retire", "shop.example.test", expect=None)
        installation.site_url = f"https://{NAME}:{site.port}/"
        yield installation
    finally:
        site.close()


def _diagnosis(installation: Installation) -> dict[str, Any]:
    options = ("--http-port", "9", "--format", "json")
    found: dict[str, Any] = installation.run("diagnose", installation.site_url, *options).json
    return found


def _status(installation: Installation) -> dict[str, Any]:
    rows = installation.run("status", "--all", "--format", "json").json["endpoints"]
    (row,) = [r for r in rows if r["target"].startswith(NAME)]
    found: dict[str, Any] = row
    return found


def _site(installation: Installation, *options: str) -> dict[str, Any]:
    report = installation.run("report", "--client", "1001", "--format", "json", *options).json
    assert report["you_act"] == report["we_act"] == report["escalated"] == []
    (site,) = [s for s in report["sites"] if s["name"] == NAME]
    found: dict[str, Any] = site
    return found


def test_each_part_calls_the_renewal_planned_and_no_fault(due: Installation) -> None:
    due.run("case", "open", "1001", NAME)
    (opened,) = due.run("case", "list", "--format", "json").json["cases"]
    case = opened["reference"]
    scanned = due.run("scan", "--format", "json").json
    row = _status(due)
    assert (row["verdict"], row["codes"]) == ("ok", [])
    assert scanned["summary"] == due.run("status", "--all", "--format", "json").json["summary"]
    assert scanned["endpoints"][0]["findings"][0]["planned"] == row["planned"]
    until = row["planned"]["until"]
    words = f"planned, by us, until {until[:10]} (case {case})"
    assert row["planned"] == {
        "by": "us",
        "person": None,
        "until": until,
        "reference": f"case {case}",
        "begun": True,
        "text": words,
    }
    assert words in due.run("status", "--all").out
    assert "1 renewal(s) due, planned and in time" in due.run("status").out
    assert due.run("status", "--causes", "--format", "json").json["causes"] == []
    shown = due.run("domain", "show", NAME, "--format", "json").json["endpoints"][0]
    assert (shown["verdict"], shown["findings"], shown["planned"]["text"]) == ("ok", [], words)
    assert f"renewal: {words}" in due.run("domain", "show", NAME).out
    complies = due.run("compliance", "--domain", NAME, "--format", "json", expect=None).json
    (rule,) = [r for r in complies["rows"] if r["deadline"] == "chrome-154"]
    assert (CODE in rule["codes"], rule["planned"]) == (False, [words])
    found = _diagnosis(due)
    assert (found["code"], found["planned"]["text"]) == (None, words)
    assert {s["state"] for s in found["steps"] if s["step"] == "dates"} == {"ok"}
    due.run("notify")
    assert f"case {case} handles it" in due.run("notify", "--explain", NAME).out
    digests = [m.text for m in due.mail.received if "Audit log" in m.text]
    assert [named_in_digest(t) for t in digests] == [{}] * len(digests)
    counted = faulty_names(due, ["1001"])
    assert set(counted.values()) == {0}, counted


def test_report_and_message_state_it_in_the_language_of_the_client(due: Installation) -> None:
    due.run("scan", expect=None)
    for code, words in (("en", "planned, by us, until"), ("de", "geplant, durch uns, bis")):
        facts = _site(due, "--language", code)["facts"]
        assert any(words in f for f in facts), facts
        options = ("--http-port", "9", "--language", code, "--message")
        assert words in due.run("diagnose", due.site_url, *options).out


def test_administrator_still_sees_a_renewal_that_was_not_begun(due: Installation) -> None:
    due.run("scan", expect=None)
    row = _status(due)
    assert (row["verdict"], row["codes"], row["planned"]["begun"]) == ("attention", [CODE], False)
    due.run("notify", "--queue-only")
    explained = due.run("notify", "--explain", NAME).out
    assert "planned, by us" in explained
    assert "our fault" not in explained
    due.run("finding", "assign", CODE, "--domain", NAME, "--by", "Ada", "--until", "2026-12-01")
    row = _status(due)
    assert (row["verdict"], row["planned"]["person"]) == ("ok", "Ada")
    assert any("Ada" in f for f in _site(due, "--language", "en")["facts"])


def test_renewal_of_the_client_is_no_plan_of_ours(due: Installation) -> None:
    due.run("client", "edit", "1001", "--buys", "client", "--renews", "client")
    due.run("scan", expect=None)
    assert _status(due)["planned"] is None
    found = _diagnosis(due)
    assert (found["outcome"], found["code"], found["planned"]) == ("you-act", CODE, None)


def test_client_is_never_asked_to_renew_what_a_failing_lineage_renews(due: Installation) -> None:
    """The domain still says that the client buys; the lineage is the fact."""
    due.run("client", "edit", "1001", "--buys", "client", "--renews", "client")
    database = open_sqlite(due.database)
    due.run("scan", expect=None)
    with database.write() as tx:
        lineage = add_lineage(tx, "garten", "1001", add_account(tx), NAME)
        (leaf,) = {leaf.sha256 for leaf in certificates.live(tx.conn) if NAME in leaf.names}
        lineages.note(tx, lineage, sha256=leaf, failures=3, error="the CA refused")
    database.close()
    due.run("scan", expect=None)
    row = _status(due)
    assert row["planned"] is None
    assert {f["actor"] for f in row["findings"]} == {"provider"}
    found = _diagnosis(due)
    assert (found["outcome"], found["who"]) == ("escalated", "provider")
    assert "where you bought it" not in found["message"]
    due.run("notify", "--queue-only")
    assert "our fault" in due.run("notify", "--explain", NAME).out
