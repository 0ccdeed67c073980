"""One inventory with each kind of renewal and of fault: every output counts the same."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.demo import servers
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.demo.servers import Server, server_context
from inventory.db.database import Tx
from inventory.store import certificates, domains, endpoints, lineages
from inventory.store import servers as machines
from inventory.targets import Target
from tests.certmgr.scenes.numbers import faulty_names, named_in_digest
from tests.certmgr.scenes.provider import STAFF, Provider, provider
from tests.clock import clock
from tests.databases import open_sqlite
from tests.inventory.store.builders import add_account, add_lineage

START = datetime(2026, 11, 25, 10, tzinfo=UTC)  # a Wednesday
EXPIRING, EXPIRED, FOREIGN = "certificate-expiring", "certificate-expired", "foreign-address"
DOWN = "https-missing"
# What the name stands for -> its verdict, the finding that counts, and who plans its renewal.
EXPECTED: dict[str, tuple[str, str | None, str | None]] = {
    "healthy": ("ok", None, None),
    "lineage": ("ok", None, "us"),
    "failing": ("attention", EXPIRING, None),
    "stated": ("ok", None, "automation"),
    "learned": ("attention", EXPIRING, None),
    "panel": ("ok", None, "panel"),
    "cdn": ("ok", None, "cdn"),
    "case": ("ok", None, "us"),
    "bought": ("attention", EXPIRING, "us"),
    "taken": ("ok", None, "us"),
    "none": ("attention", EXPIRING, None),
    "waived": ("ok", None, None),
    "expired": ("fault", EXPIRED, None),
    "accepted": ("ok", None, None),
    "assigned": ("fault", EXPIRED, None),
    "foreign": ("fault", FOREIGN, None),
    "down1": ("fault", DOWN, None),
    "down2": ("fault", DOWN, None),
}
PARTIES: dict[str, dict[str, str]] = {
    "panel": {"renews": "panel"},
    "cdn": {"renews": "cdn"},
} | {n: {"buys": "us", "renews": "us"} for n in ("case", "bought", "taken", "assigned")}
ONE, TWO = "1001", "1002"
LATER = (START + timedelta(days=9)).strftime("%Y-%m-%d")


def host(name: str) -> str:
    return f"{name}.example.test"


def label(target: str) -> str:
    return target.partition(".")[0]


@pytest.fixture
def place(root: Authority, issuer: Authority, tmp_path: Path) -> Iterator[Provider]:
    with provider(root, issuer, tmp_path, START - timedelta(days=102)) as made:
        made.add(ONE, host("learned"))
        made.add(TWO)
        # Scans see twice that the certificate is replaced 30 days before its end.
        for back in (101, 71, 41):
            clock.reset(START - timedelta(days=back))
            made.serve(host("learned"), days=60)
            made.run("scan")
        clock.reset(START - timedelta(days=1))
        web4 = Server(servers.tls(server_context(_issued(made, 90, "down1", "down2"))))
        outdated = server_context(_issued(made, -9, "foreign"))
        old = Server(servers.tls(outdated), "127.0.9.1", made.port)
        try:
            _sites(made, web4.port)
            made.run("scan", expect=None)
            web4.close()
            clock.reset(START)
            made.run("scan", expect=None)
            _decisions(made)
            # Who acts on what a lineage renews is judged by the scan after it was arranged.
            made.run("scan", expect=None)
            yield made
        finally:
            old.close()
            web4.close()


def _issued(made: Provider, days: int, *names: str) -> IssuedCertificate:
    """Return a certificate that ends some days after the start. What ends soon lives 90 days."""
    end = START + timedelta(days=days)
    begin = min(START, end) - timedelta(days=71)
    return made.issuer.issue(*map(host, names), not_before=begin, not_after=end)


def _sites(made: Provider, web4: int) -> None:
    """Add and serve all names but the learned one, whose site exists already."""
    database = open_sqlite(made.database)
    days = {"healthy": 129, "foreign": 129, "expired": -2, "accepted": -2, "assigned": -2}
    with database.write(clock()) as tx:
        machines.add(tx, {"name": "web4", "addresses": ["127.0.0.1"], "hosts": "us"})
        for name in [n for n in EXPECTED if n != "learned"]:
            down = name.startswith("down")
            parties = PARTIES.get(name, {})
            given = {
                "client": TWO if name == "down2" else ONE,
                "server": "web4" if down else "web3",
            }
            domains.add(tx, host(name), given | parties)
            addresses = ("127.0.0.1", *(["127.0.9.1"] if name == "foreign" else []))
            values = {"port": web4 if down else made.port, "addresses": addresses}
            endpoints.edit(tx, Target(host(name)), values)
            made.sites[host(name)] = server_context(_issued(made, days.get(name, 19), name))
    database.close()
    made.run("domain", "edit", host("stated"), "--tag", "auto-renewed")


def _decisions(made: Provider) -> None:
    """Arrange the lineages, the purchase and the case, and decide about faults."""
    database = open_sqlite(made.database)
    with database.write(clock()) as tx:
        account = add_account(tx)
        _lineage(tx, "lineage", account)
        lineages.note(tx, _lineage(tx, "failing", account), failures=3, error="the CA refused")
    database.close()
    made.run("case", "open", ONE, host("case"))
    made.run("purchase", "add", ONE, "--name", host("bought"), "--vendor", "V", "--bought-by", "us")
    for code, name in ((EXPIRED, "accepted"), (EXPIRING, "waived")):
        words = ("--until", LATER, "--reason", "agreed", "--domain", host(name))
        made.run("finding", "accept", code, *words)
    for code, name in ((EXPIRED, "assigned"), (EXPIRING, "taken")):
        made.run(
            "finding", "assign", code, "--until", LATER, "--by", "Grace", "--domain", host(name)
        )


def _lineage(tx: Tx, name: str, account: int) -> int:
    """Arrange a lineage, whose certificate is the one that is served."""
    row_id = add_lineage(tx, name, ONE, account, host(name))
    (leaf,) = {c.sha256 for c in certificates.live(tx.conn) if host(name) in c.names}
    lineages.note(tx, row_id, sha256=leaf)
    return row_id


COUNTING = {(n, code) for n, (_, code, _) in EXPECTED.items() if code is not None}
FAULTS = {n for n, (verdict, _, _) in EXPECTED.items() if verdict == "fault"}
PER_CODE = Counter(code for _, code in COUNTING)
PER_VERDICT = Counter(verdict for verdict, _, _ in EXPECTED.values())


def _json(place: Provider, *words: str) -> Any:
    return place.run(*words, "--format", "json", expect=None).json


def test_each_output_counts_the_same(place: Provider) -> None:
    status = _json(place, "status", "--all")
    assert {
        label(e["target"]): (e["verdict"], e["codes"], (e["planned"] or {}).get("by"))
        for e in status["endpoints"]
    } == {n: (v, [] if code is None else [code], by) for n, (v, code, by) in EXPECTED.items()}
    assert {k: v for k, v in status["summary"].items() if v and k != "endpoints"} == PER_VERDICT
    causes = _json(place, "status", "--causes")["causes"]
    assert {(label(t), c["code"]) for c in causes for t in c["targets"]} == COUNTING
    (failing,) = [c for c in causes if host("failing") in str(c["targets"])]
    assert "certmgr lineage show failing" in failing["do"], "and not a renewal by hand"
    _check_findings(place)
    counted = faulty_names(place, [ONE, TWO])
    assert set(counted.values()) == {len(FAULTS)}, counted
    gauges = re.findall(
        r'certmgr_findings\{code="([a-z-]+)"[^}]*\} (\d+)', place.run("metrics").out
    )
    assert {code: int(number) for code, number in gauges} == PER_CODE
    page = place.run("dashboard").out
    tiles = re.findall(r'<li class="tile ([a-z]+)"><strong>(\d+)<', page)
    assert {state: int(number) for state, number in tiles if number != "0"} == PER_VERDICT
    assert "Grace fixes it until" in page
    assert "The server web4 refuses connections" in page
    # Without visits of pages, a report calls no site well. Faults and warnings are the same.
    reported = [s for c in (ONE, TWO) for s in _json(place, "report", "--client", c)["sites"]]
    shown = {label(s["name"]): s["state"] for s in reported if s["state"] != "unknown"}
    assert shown == {n: v for n, (v, _, _) in EXPECTED.items() if v != "ok"}
    rows = _json(place, "compliance", "--all")["rows"]
    assert {label(r["domain"]) for r in rows if r["status"] == "does-not-comply"} == FAULTS
    _check_digest_and_pages(place)


def _check_findings(place: Provider) -> None:
    """Compare the list of findings with the status."""
    listed = _json(place, "finding", "list")["findings"]
    standing = {label(f["target"]): f["state"] for f in listed}
    assert {(label(f["target"]), f["code"]) for f in listed if f["state"] == "open"} == COUNTING
    planned = {n for n, (verdict, _, by) in EXPECTED.items() if by and verdict == "ok"}
    assert {n for n, state in standing.items() if state == "planned"} == planned
    assert {n for n, state in standing.items() if state == "accepted"} == {"accepted", "waived"}
    assert {label(f["target"]): f["planned"]["by"] for f in listed if f["planned"] is not None} == {
        n: by for n, (_, _, by) in EXPECTED.items() if by
    }
    assert {label(f["target"]) for f in listed if f["assigned"]} == {"assigned", "taken"}
    actors = {f["actor"] for f in listed if f["code"] == DOWN}
    assert actors == {"provider"}, "nothing has to be bought for a server that is down"
    table = place.run("finding", "list").out
    assert "Grace fixes it until" in table
    assert "planned, by the hosting panel, until" in table
    rows = csv.DictReader(place.run("finding", "list", "--format", "csv").out.splitlines())
    assert {label(r["target"]): r["state"] for r in rows} == standing


def _check_digest_and_pages(place: Provider) -> None:
    """Compare the digest, the pages of domains, diagnoses and an incident with the status."""
    place.run("notify")
    (digest,) = [m for m in place.mail.to(STAFF) if "to assign" in m.subject]
    # What clients have to do is held after a first scan, and counts in its own section.
    ours, _, held = digest.text.partition("Held until you release them")
    assert named_in_digest(ours) == PER_CODE - Counter({EXPIRING: 2})
    assert host("none") in held
    assert "2 expired, 4 faults to assign" in digest.subject
    assert "Grace fixes it until" in ours
    assert f"--endpoint {host('assigned')}" not in ours, "it has an assignee"
    targets = {label(e["target"]): e for e in _json(place, "status", "--all")["endpoints"]}
    for name in ("failing", "taken", "expired", "foreign", "down1"):
        verdict, code, by = EXPECTED[name]
        (page,) = _json(place, "domain", "show", host(name))["endpoints"]
        codes = [f["code"] for f in page["findings"]]
        assert (page["verdict"], codes) == (verdict, [] if code is None else [code])
        told = [f["do"] for f in page["findings"] if "certmgr lineage show" in f["do"]]
        assert bool(told) is (name == "failing")
        url = f"https://{targets[name]['target']}/"
        found = _json(place, "diagnose", url, "--http-port", "9")
        assert page["planned"] == found["planned"] == targets[name]["planned"]
        assert found["code"] == code
        assert (by is None) is (found["planned"] is None)
    opened = ("incident", "open", "--server", "web4", "--until", LATER, "--reason", "x")
    reference = _json(place, *opened)["reference"]
    assert place.incident(reference)["left"] == PER_CODE[DOWN]
