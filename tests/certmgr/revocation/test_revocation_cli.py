"""``certmgr revocation`` as a user runs it, ``certmgr run`` that does the same, and the message that a client gets of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from certmgr.config import NetworkSettings, Settings
from certmgr.demo.authority import Authority, Issued
from certmgr.notices.fresh import compare, looker
from inventory.certificates import parse
from inventory.database import Database
from inventory.store import clients, contacts, domains, endpoints, findings
from inventory.targets import Target
from notifiers.subject import Kind, Seen, Subject
from tests.certmgr.cases.place import serve
from tests.certmgr.dns.server import NameServer, serving
from tests.certmgr.revocation.lists import asked, files, make_list, points
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran
from tests.servers.real import nginx, write_pair

HOSTS = {"1001": "rose.example.test", "1002": "tulip.example.test"}
CODES = ["revoked", "caa-mismatch", "dane-mismatch"]


@dataclass(slots=True)
class Two:
    """Both clients serve a revoked certificate, and announce another one."""

    run: Callable[..., Ran]
    database: Database
    web: Path
    names: NameServer
    issued: dict[str, Issued]


@pytest.fixture
def two(tmp_path: Path, certmgr: Callable[..., Ran], issuer: Authority) -> Iterator[Two]:
    database = open_sqlite(tmp_path / "cli.db")
    records = {(f"_443._tcp.{h}", "TLSA"): ["3 1 1 " + "ab" * 32] for h in HOSTS.values()}
    with files(tmp_path / "web") as (port, served), serving(records, authentic=("example.test",)) as names:
        # The root of the tests is no anchor here: the intermediate is one that was seen.
        (tmp_path / "certmgr.toml").write_text(
            f'[scan]\nresolvers = ["{names.address}"]\nper_address = 0\nrate = 0.0\n[http]\nenabled = false\n[network]\nallow = ["127.0.0.0/8"]\n'
        )
        made: dict[str, Issued] = {}
        for number, host in HOSTS.items():
            with database.write() as tx:
                clients.add(
                    tx,
                    {
                        "number": number,
                        "name": f"Client {number}",
                        "buys": "client",
                        "renews": "client",
                        "dns": "us",
                        "hosts": "us",
                    },
                )
                contacts.add(tx, number, {"name": f"Owner {number}"}, (f"email:owner@client{number}.example",))
                domains.add(tx, host, {"client": number})
            made[number] = issuer.issue(host, extensions=[points(f"http://127.0.0.1:{port}/{number}.crl")])
            serve(database, host, made[number], clock().replace(microsecond=0))
            (served / f"{number}.crl").write_bytes(make_list(issuer, [made[number]]))
        yield Two(certmgr, database, tmp_path / "web", names, made)
    database.close()


def test_a_dry_run_asks_nobody(two: Two) -> None:
    done = two.run("revocation", "--dry-run", "--format", "json")
    assert (done.code, done.json["dry_run"], done.json["endpoints"]) == (0, True, 2)
    assert [(r["url"].rpartition("/")[2], r["certificates"]) for r in done.json["lists"]] == [("1001.crl", 1), ("1002.crl", 1)]
    assert asked(two.web) == []
    assert two.names.asked == []
    assert "Nothing was asked" in two.run("revocation", "--dry-run").out
    with two.database.read() as conn:
        assert findings.listing(conn) == []


def test_what_it_found_in_every_form(two: Two) -> None:
    done = two.run("revocation", "--format", "json")
    assert done.code == 0, done.err
    assert done.json["schema"] == "certmgr.revocation/1"
    assert sorted((f["target"], f["code"], f["severity"]) for f in done.json["findings"]) == [
        ("rose.example.test:443", "dane-mismatch", "info"), ("rose.example.test:443", "revoked", "critical"),
        ("tulip.example.test:443", "dane-mismatch", "info"), ("tulip.example.test:443", "revoked", "critical"),
    ]  # fmt: skip
    assert (done.json["lists"]["fetched"], done.json["lists"]["failed"], done.json["opened"], done.json["suspect"]) == (
        2,
        [],
        4,
        [],
    )
    rows = list(csv.DictReader(io.StringIO(two.run("revocation", "--format", "csv").out)))
    assert sorted({r["code"] for r in rows}) == ["dane-mismatch", "revoked"]
    said = two.run("revocation").out
    assert "its key became known to others" in said
    assert "--all asks again" in said
    assert "0 certificate(s) asked about" in said


def test_one_clients_output_never_shows_the_others(two: Two) -> None:
    for form in ("table", "json", "csv"):
        done = two.run("revocation", "--client", "1001", "--all", "--format", form)
        assert done.code == 0, done.err
        assert "rose" in done.out
        assert "tulip" not in done.out + done.err
        assert "1002" not in done.out + done.err
    assert asked(two.web) == ["/1001.crl"] * 3
    assert not [n for n, _, _ in two.names.asked if "tulip" in n]


def test_a_client_that_is_not_there(two: Two) -> None:
    done = two.run("revocation", "--client", "9999")
    assert done.code == 2
    assert "9999" in done.err


def test_status_and_the_report_say_it(two: Two) -> None:
    two.run("revocation")
    shown = two.run("status", "--format", "json")
    assert shown.code == 1
    standing = next(e for e in shown.json["endpoints"] if e["target"] == f"{HOSTS['1001']}:443")
    assert standing["verdict"] == "fault"
    assert "revoked" in {f["code"] for f in standing["findings"]}
    causes = two.run("status", "--causes", "--format", "json").json["causes"]
    assert {c["kind"] for c in causes if c["code"] == "revoked"} == {"certificate"}
    report = two.run("report", "--client", "1001", "--format", "json").out
    assert "became known to others" in report
    assert "tulip" not in report


def test_the_line_for_cron_does_it_too(two: Two) -> None:
    done = two.run("run", "--no-scan", "--verbose")
    assert "2 revocation list(s) asked, 4 finding(s) opened" in done.out + done.err
    (two.web.parent / "certmgr.toml").write_text("[scan]\nrevocation = false\ndane = false\n")
    assert "revocation list" not in two.run("run", "--no-scan", "--verbose").out


# -- the look before it is said -----------------------------------------------------------------------------------------------


def subject(two: Two, code: str) -> Subject:
    from inventory.model import Finding

    with two.database.read() as conn:
        row = next(r for r in findings.listing(conn) if r["code"] == code and r["host"] == HOSTS["1001"])
    one = Finding(code, row["severity"], tuple(row["addresses"]), row["evidence"], row["actor"])
    return Subject(
        "fault:1", Kind.FAULT, str(row["id"]), row["client_id"], row["client"], row["domain_id"], row["endpoint_id"],
        Target(row["host"], row["port"]), row["severity"], row["actor"], clock(), code=code, finding=one,
    )  # fmt: skip


@pytest.mark.parametrize(("replaced", "seen"), [(False, Seen.SAME), (True, Seen.GONE)])
def test_a_fresh_look_does_not_disprove_what_no_handshake_shows(
    two: Two, settings: Settings, issuer: Authority, tmp_path: Path, replaced: bool, seen: Seen
) -> None:
    """The revoked certificate is served: the message goes out, though a scan sees nothing wrong with it. Replaced: it does not."""
    two.run("revocation")
    told = subject(two, "revoked")
    shown = issuer.issue(HOSTS["1001"]) if replaced else two.issued["1001"]
    (tmp_path / "nginx").mkdir()
    with nginx(tmp_path / "nginx", [(HOSTS["1001"], *write_pair(tmp_path / "pair", shown))]) as port:
        with two.database.write() as tx:
            endpoints.edit(tx, Target(HOSTS["1001"]), {"port": port, "addresses": ["127.0.0.1"]})
        made = replace(settings, network=NetworkSettings(allow=("127.0.0.0/8",)))
        look = looker(two.database, made)([told])[told.mark]
    assert look.seen is seen, look.reason


@pytest.mark.parametrize(
    ("code", "evidence", "chains", "expected"),
    [
        ("caa-mismatch", {}, ["b"], Seen.SAME),
        ("dane-mismatch", {"certificates": ["b"]}, ["b"], Seen.SAME),
        ("dane-mismatch", {"certificates": ["a"]}, ["b"], Seen.UNKNOWN),
        ("revoked", {"certificates": ["a"]}, ["a", "b"], Seen.SAME),
        ("revoked", {"certificates": ["a"]}, [], Seen.UNKNOWN),
        ("revoked", {"certificates": ["a"], "source": "staple"}, ["a"], Seen.GONE),
    ],
)
def test_what_a_fresh_look_says(code: str, evidence: dict[str, Any], chains: Sequence[str], expected: Seen) -> None:
    from certmgr.checks.transport import finding
    from certmgr.scan.report import AddressView, Report

    views = tuple(AddressView(f"192.0.2.{i}", "TLSv1.3", "x", "x", None, None, (c,), True, None) for i, c in enumerate(chains))
    report = Report(Target(HOSTS["1001"]), clock(), None, views, (), bool(views), not views, True, (), None)
    one = finding(code, ("192.0.2.0",), **evidence)
    told = Subject(
        "k", Kind.FAULT, "1", 1, "1001", 1, 1, report.target, one.severity, "client", report.at, code=code, finding=one
    )
    assert compare(told, report, {}).seen is expected


def test_a_client_hears_that_a_certificate_was_revoked(two: Two, settings: Settings, tmp_path: Path) -> None:
    """Through the run of notices: it is a fault of the client's, worth a message, and not folded away."""
    from certmgr.notices.gather import gather
    from certmgr.orders.model import Leads
    from notifiers.thresholds import Rules

    two.run("revocation")
    news = gather(two.database, clock(), {}, Rules(), Leads(7, 7, 7))
    told = [s for s in news.subjects if s.code == "revoked"]
    assert {s.client for s in told} == {"1001", "1002"}
    mine = next(s for s in told if s.client == "1001")
    assert (mine.severity, mine.actor, mine.quiet, mine.visible) == ("critical", "client", "", True)
    assert mine.finding is not None
    assert mine.finding.evidence["certificates"] == [parse(two.issued["1001"].der).sha256]
