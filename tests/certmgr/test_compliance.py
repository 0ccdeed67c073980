"""Dated rules: boundaries, steps, and each rule against nginx and real pages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from certmgr.checks.trust import TrustStore
from certmgr.compliance import rules
from certmgr.compliance.milestones import Deadline, milestones
from certmgr.compliance.rules import RULES, Known, Leaf, State
from certmgr.compliance.standing import Row, Subject, all_deadlines, assess, judge, subjects
from certmgr.compliance.steps import backwards
from certmgr.config import HttpSettings, Settings
from certmgr.demo import servers as demo_servers
from certmgr.demo.authority import Authority, Issued
from certmgr.demo.servers import Server, server_context
from certmgr.survey import Options, Survey
from inventory.certificates import parse as parse_certificate
from inventory.model import Acceptance, Finding, Parties
from inventory.store import clients, domains, endpoints
from inventory.targets import Target
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran
from tests.servers import real
from tests.servers.ports import free_port

HOST = "shop.example.test"
HSTS = 'add_header Strict-Transport-Security "max-age=31536000" always;'
REDIRECT = f"return 301 https://{HOST}:HTTPS_PORT/;"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


# -- the data ----------------------------------------------------------------------------------------------------------


def test_every_milestone_says_what_whom_source_and_confidence() -> None:
    found = milestones()
    assert len(found) >= 25
    assert [m.at for m in found] == sorted(m.at for m in found)
    for m in found:
        assert m.title and m.affects and m.source, m.name
        assert m.confidence in ("V", "S", "M")
        assert m.confidence != "M" or not m.confirmed, "what is only remembered is never confirmed"
        assert m.rule == "" or m.rule in RULES, m.name


def test_a_lifetime_binds_what_was_issued_in_its_time() -> None:
    """A certificate of 398 days issued in October 2026 breaks the 200 days of then, and not a limit that begins later."""
    old = Known(Target(HOST), "site", (), (Leaf(NOW - 40 * DAY, NOW + 358 * DAY, True),), True, True)
    states = {
        r.deadline.name: r.state for r in judge([subject(old)], milestones(), NOW) if r.deadline.name.startswith("lifetime")
    }
    assert states == {"lifetime-200": State.FAILS}


def test_what_is_announced_is_marked_as_not_confirmed() -> None:
    assert {m.name for m in milestones() if not m.confirmed} == {"chrome-154", "rsa-2048", "no-rsa-ecc", "pci-4", "tls-1-0-off"}


@pytest.mark.parametrize(("name", "day", "rule"), [
    ("chrome-56", "2017-01", "no-secrets-over-http"), ("chrome-62", "2017-10", "no-input-over-http"), ("chrome-68", "2018-07", "no-page-over-http"),
    ("chrome-154", "2026-10", "opens-over-https"), ("lifetime-200", "2026-03-15", "lifetime-200"),
    ("lifetime-100", "2027-03-15", "lifetime-100"), ("lifetime-47", "2029-03-15", "lifetime-47"),
])  # fmt: skip
def test_dates_are_those_of_the_sources(name: str, day: str, rule: str) -> None:
    (found,) = [m for m in milestones() if m.name == name]
    assert found.at.date().isoformat().startswith(day)
    assert found.rule == rule


# -- lifetimes ---------------------------------------------------------------------------------------------------------

BOUNDARIES = [
    (date(2012, 7, 1), 1827), (date(2016, 7, 1), 1188), (date(2018, 3, 2), 825), (date(2020, 9, 1), 398), (date(2026, 3, 15), 200),
    (date(2027, 3, 15), 100), (date(2029, 3, 15), 47),
]  # fmt: skip


def leaf(issued: datetime, seconds: int, public: bool | None = True) -> Leaf:
    """``seconds``: its whole life, the last one included."""
    return Leaf(issued, issued + timedelta(seconds=seconds - 1), public)


@pytest.mark.parametrize(("day", "limit"), BOUNDARIES)
def test_a_lifetime_is_inclusive_to_the_second(day: date, limit: int) -> None:
    """Well behind a boundary: exactly the limit complies, one second more does not (BR 1.6.1, 6.3.2)."""
    issued = datetime(day.year, day.month, day.day, tzinfo=UTC) + 10 * DAY
    assert rules.lifetime_of(leaf(issued, limit * 86_400)).state is State.COMPLIES
    assert rules.lifetime_of(leaf(issued, limit * 86_400 + 1)).state is State.FAILS
    assert rules.lifetime_of(leaf(issued, limit * 86_400 + 1, public=False)).state is State.NONE, "a private CA is not bound"
    assert rules.lifetime_of(leaf(issued, limit * 86_400, public=None)).state is State.UNKNOWN


@pytest.mark.parametrize(("index"), range(1, len(BOUNDARIES)))
def test_both_sides_of_every_boundary(index: int) -> None:
    """The older limit holds for certain until 48 h before, the newer from 48 h after; between them nobody can tell (BR 7.1.2.7)."""
    day, limit = BOUNDARIES[index]
    older = BOUNDARIES[index - 1][1]
    boundary = datetime(day.year, day.month, day.day, tzinfo=UTC)
    long, short = older * 86_400, limit * 86_400
    second = timedelta(seconds=1)
    assert rules.lifetime_of(leaf(boundary - 2 * DAY - second, long)).state is State.COMPLIES
    assert rules.lifetime_of(leaf(boundary - 2 * DAY, long)).state is State.UNKNOWN
    assert rules.lifetime_of(leaf(boundary - second, long)).state is State.UNKNOWN
    assert rules.lifetime_of(leaf(boundary, long)).state is State.UNKNOWN
    assert rules.lifetime_of(leaf(boundary + 2 * DAY - second, long)).state is State.UNKNOWN
    assert rules.lifetime_of(leaf(boundary + 2 * DAY, long)).state is State.FAILS
    assert rules.lifetime_of(leaf(boundary, short)).state is State.COMPLIES
    assert rules.lifetime_of(leaf(boundary, long + 1)).state is State.FAILS, "too long under either"


# -- steps -------------------------------------------------------------------------------------------------------------


def test_backwards_from_the_date() -> None:
    due = Deadline("own", NOW + 60 * DAY, "x", "https-only", purchase_days=10, validation_days=5, installation_days=3)
    parties = Parties(hosts="us", dns="client", buys="client", renews="client", on_our_server=True)
    steps = backwards(due.at, due, NOW, parties, needs_certificate=True)
    assert [(s.name, (due.at - s.by).days, s.actor) for s in steps] == [
        ("decide", 18, "client"), ("buy", 8, "client"), ("validate", 3, "client"), ("install", 0, "provider"),
    ]  # fmt: skip
    assert not any(s.late for s in steps)
    later = backwards(due.at, due, NOW + 50 * DAY, parties, needs_certificate=True)
    assert [s.name for s in later if s.late] == ["decide"]


def test_a_server_setting_needs_no_purchase() -> None:
    steps = backwards(NOW + 30 * DAY, None, NOW, Parties(hosts="us", on_our_server=True), needs_certificate=False)
    assert [(s.name, s.actor) for s in steps] == [("configure", "provider")]


# -- judging (pure) ----------------------------------------------------------------------------------------------------


def known(*findings: Finding, looked: bool = True, visited: bool = True, accepted: tuple[Any, ...] = ()) -> Known:
    good = Leaf(NOW - 10 * DAY, NOW + 80 * DAY, True)
    return Known(Target(HOST), "site", findings, (good,), looked, visited, accepted)


def subject(*parts: Known, purpose: str = "site", policy: str | None = None, tags: frozenset[str] = frozenset()) -> Subject:
    return Subject(1, HOST, "1001", 1, purpose, policy, Parties(), tags, parts)


def stand(due: Deadline, *parts: Known, at: datetime = NOW, **options: Any) -> Row:
    row = assess(subject(*parts, **options), due, at)
    assert row is not None
    return row


SERVED = Finding("http-served", "medium", ("192.0.2.1",), {"url": f"http://{HOST}/"})
OWN = Deadline("own", NOW + 30 * DAY, "all sites on HTTPS", "https-only", own=True)


def test_the_five_states() -> None:
    past = replace(OWN, at=NOW - DAY)
    assert stand(OWN, known()).state is State.COMPLIES
    assert stand(past, known(SERVED)).state is State.FAILS
    row = stand(OWN, known(SERVED))
    assert (row.state, row.since) == (State.WILL_FAIL, OWN.at)
    assert stand(OWN, known(visited=False)).state is State.UNKNOWN
    assert stand(OWN, known(looked=False)).note == rules.NOT_LOOKED
    acceptance = Acceptance(1, "http-served", None, 1, None, NOW + 5 * DAY, "moves in spring", "ines")
    waived = stand(past, known(accepted=((SERVED, acceptance),)))
    assert (waived.state, waived.waived) == (State.WAIVED, ("ines", NOW + 5 * DAY, "moves in spring"))


def test_could_not_tell_is_neither_good_nor_bad() -> None:
    doubt = Finding("http-unknown", "undetermined", ("192.0.2.1",), {"url": f"http://{HOST}/", "why": "403"})
    assert stand(OWN, known(doubt)).state is State.UNKNOWN
    assert stand(replace(OWN, rule="modern-tls"), known(doubt)).state is State.COMPLIES, "the page has nothing to do with TLS"
    silent = Finding("connection-timeout", "undetermined", ("192.0.2.1",), {})
    assert stand(replace(OWN, rule="valid-certificate"), known(silent)).state is State.UNKNOWN


def test_proofs_of_logging_that_could_not_be_read_are_not_determined() -> None:
    scts = Finding("sct-missing", "undetermined", ("192.0.2.1",), {"embedded": 0, "needed": 2})
    assert stand(replace(OWN, rule="valid-certificate"), known(scts)).state is State.UNKNOWN
    assert stand(replace(OWN, rule="no-weak-key"), known(scts)).state is State.COMPLIES
    missing = replace(scts, severity="high")
    assert stand(replace(OWN, rule="valid-certificate", at=NOW - DAY), known(missing)).state is State.FAILS


def test_on_the_last_day_one_may_still_not_comply() -> None:
    assert stand(OWN, known(SERVED), at=OWN.at).state is State.WILL_FAIL
    assert stand(OWN, known(SERVED), at=OWN.at + timedelta(seconds=1)).state is State.FAILS


def test_an_optional_domain_that_complies_complies() -> None:
    assert stand(OWN, known(), policy="optional").state is State.COMPLIES


def test_a_certificate_that_ends_before_the_date_will_not_comply_from_its_end() -> None:
    ending = Known(Target(HOST), "site", (), (Leaf(NOW - 85 * DAY, NOW + 5 * DAY, True),), True, True)
    row = stand(replace(OWN, at=NOW - DAY), ending)
    assert (row.state, row.since) == (State.WILL_FAIL, NOW + 5 * DAY + timedelta(seconds=1))
    assert [s.name for s in row.steps] == ["decide", "buy", "validate", "install"]


def test_whom_it_concerns() -> None:
    assert assess(subject(known(), purpose="parked"), OWN, NOW) is None
    assert assess(subject(known(), purpose="mail"), OWN, NOW) is None
    assert assess(subject(known()), replace(OWN, clients=frozenset({"2002"})), NOW) is None
    assert assess(subject(known()), replace(OWN, clients=frozenset({"1001"})), NOW) is not None
    assert assess(subject(known(), tags=frozenset({"gold"})), replace(OWN, tags=frozenset({"gold"})), NOW) is not None
    assert assess(subject(known()), Deadline("info", NOW, "for information"), NOW) is None
    assert stand(OWN, known(SERVED), policy="optional").state is State.WAIVED
    assert stand(replace(OWN, own=False), known(SERVED), policy="optional").state is State.WILL_FAIL, "a browser knows no policy"


def test_one_bad_endpoint_is_enough() -> None:
    assert stand(replace(OWN, at=NOW - DAY), known(), known(SERVED)).state is State.FAILS


# -- each rule, with nginx and real pages -------------------------------------------------------------------------------


class Town:
    """An inventory with one domain, served by nginx, scanned as `certmgr scan` does."""

    def __init__(self, settings: Settings, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder, self.stack, self.port = folder, stack, 443
        self.settings = replace(settings, http=HttpSettings(per_address=0, rate=0.0, port=free_port()))
        self.database = open_sqlite(folder / "town.db")
        with self.database.write() as tx:
            clients.add(tx, {"number": "1001", "name": "Shop", "hosts": "us", "buys": "client", "renews": "client"})
            domains.add(tx, HOST, {"client": "1001"})

    def serve(self, issued: Issued, plain: str, secure: str, page: str = "") -> None:
        (self.folder / "page.html").write_text(page)
        pair = real.write_pair(self.folder, issued)
        plain_port, secure_port = self.stack.enter_context(real.web(self.folder, pair, plain, secure))
        self.at(plain_port, secure_port)

    def at(self, plain_port: int, secure_port: int) -> None:
        self.settings = replace(self.settings, http=replace(self.settings.http, port=plain_port))
        with self.database.write() as tx:
            endpoints.edit(tx, Target(HOST, self.port), {"port": secure_port, "addresses": ["127.0.0.1"]})
        self.port = secure_port

    def stand(self, name: str, as_of: datetime | None = None) -> Row:
        Survey(self.database, self.settings, Options()).run()
        return self.row(name, as_of)

    def row(self, name: str, as_of: datetime | None = None) -> Row:
        now = clock()
        found, _ = subjects(self.database, now, as_of=as_of)
        dues = [d for d in all_deadlines(self.database) if d.name == name]
        (row,) = judge(found, dues, as_of or now)
        return row


@pytest.fixture
def town(settings: Settings, tmp_path: Path, opened: contextlib.ExitStack) -> Town:
    return Town(settings, tmp_path, opened)


GOOD = ("<h1>Shop</h1>", REDIRECT, f"{HSTS} index page.html;")
CASES: dict[str, tuple[str, str, str, State]] = {
    # milestone: (page, plain, secure) that fails, and how
    "chrome-56": ("<input type=password>", "index page.html;", HSTS, State.FAILS),
    "chrome-62": ("<input name=q>", "index page.html;", HSTS, State.FAILS),
    "chrome-68": ("<h1>Welcome</h1>", "index page.html;", HSTS, State.FAILS),
    "chrome-79": ("<script src=http://x.test/a.js></script>", REDIRECT, f"{HSTS} index page.html;", State.FAILS),
    "chrome-147": ("x", "return 200 ok;", f"{HSTS} return 302 http://{HOST}:HTTP_PORT/;", State.FAILS),
    "chrome-154": ("x", "return 200 ok;", f"{HSTS} return 302 http://{HOST}:HTTP_PORT/;", State.FAILS),
}


@pytest.mark.parametrize("name", CASES)
def test_a_milestone_of_browsers_with_real_pages(town: Town, issuer: Authority, name: str) -> None:
    page, plain, secure, state = CASES[name]
    town.serve(issuer.issue(HOST), plain, secure, page)
    row = town.stand(name)
    assert row.state is state
    assert row.findings


@pytest.mark.parametrize("name", [*CASES, "tls-1-2", "sha-1", "keys", "symantec", "entrust", "chunghwa-netlock"])
def test_a_good_site_complies_with_every_milestone(town: Town, issuer: Authority, name: str) -> None:
    page, plain, secure = GOOD
    town.serve(issuer.issue(HOST), plain, secure, page)
    row = town.stand(name)
    assert (row.state, row.findings) == (State.COMPLIES, ())


def test_modern_tls(town: Town, issuer: Authority) -> None:
    town.serve(issuer.issue(HOST), REDIRECT, f"{HSTS} return 200 ok;")
    old = Server(demo_servers.tls(server_context(issuer.issue(HOST), lowest=SSL.TLS1_VERSION, highest=SSL.TLS1_1_VERSION)))
    town.stack.callback(old.close)
    town.at(town.settings.http.port, old.port)
    assert town.stand("tls-1-2").state is State.FAILS


def test_weak_key(town: Town, issuer: Authority) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    town.serve(issuer.issue(HOST), REDIRECT, f"{HSTS} return 200 ok;")
    weak = Server(demo_servers.tls(server_context(issuer.issue(HOST, key=rsa.generate_private_key(65537, 1024)))))
    town.stack.callback(weak.close)
    town.at(town.settings.http.port, weak.port)
    assert town.stand("keys").state is State.FAILS


def test_weak_signature(town: Town, root: Authority) -> None:
    from tests.certificates import resigned

    issued = resigned(root.issue(HOST), root, "sha1")
    town.serve(issued, REDIRECT, f"{HSTS} ssl_ciphers ALL:@SECLEVEL=0; return 200 ok;")
    assert town.stand("sha-1").state is State.FAILS


@pytest.mark.parametrize(("organisation", "name"), [
    ("Entrust, Inc.", "entrust"), ("Symantec Corporation", "symantec"), ("Chunghwa Telecom Co., Ltd.", "chunghwa-netlock"),
    ("NETLOCK Kft.", "chunghwa-netlock"),
])  # fmt: skip
def test_a_distrusted_ca_concerns_its_own_milestone_alone(
    town: Town, monkeypatch: pytest.MonkeyPatch, organisation: str, name: str
) -> None:
    """A root that bears the name stands for the CA's: the CA itself cannot be had."""
    from cryptography.hazmat.primitives.serialization import Encoding

    distrusted = Authority("Test Root", organisation=organisation, clock=clock)
    anchor = parse_certificate(distrusted.certificate.public_bytes(Encoding.DER))
    monkeypatch.setattr(TrustStore, "load", classmethod(lambda cls, *_, **__: cls([anchor])))
    town.serve(Authority("Test Issuer", distrusted).issue(HOST), REDIRECT, f"{HSTS} return 200 ok;")
    assert town.stand(name).state is State.FAILS
    for other in {"entrust", "symantec", "chunghwa-netlock"} - {name}:
        assert town.row(other).state is State.COMPLIES


@pytest.mark.parametrize(("plain", "secure", "code"), [
    ("index page.html;", f"{HSTS} return 200 ok;", "http-served"), (REDIRECT, f"{HSTS} return 302 http://{HOST}:HTTP_PORT/;", "redirect-loop"),
    ("return 404;", f"{HSTS} return 200 ok;", "redirect-missing"),
])  # fmt: skip
def test_the_providers_own_rule(town: Town, issuer: Authority, plain: str, secure: str, code: str) -> None:
    from inventory.store import deadlines

    with town.database.write() as tx:
        due = {
            "at": clock() - DAY,
            "rule": "https-only",
            "title": "own",
            "purchase_days": 7,
            "validation_days": 7,
            "installation_days": 7,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["1001"], tags=[])
    town.serve(issuer.issue(HOST), plain, secure, "<h1>Shop</h1>")
    row = town.stand("own")
    assert row.state is State.FAILS
    assert code in {f.code for _, f in row.findings}


def test_valid_certificate_for_card_data(town: Town, issuer: Authority) -> None:
    from inventory.store import records

    now = clock()
    town.serve(issuer.issue(HOST, not_before=now - 60 * DAY, not_after=now - DAY), REDIRECT, f"{HSTS} return 200 ok;")
    with town.database.write() as tx:
        records.change_tags(tx, "domain", domains.find(tx.conn, HOST)["id"], add=["card-data"])
    row = town.stand("pci-4")
    assert row.state is State.FAILS
    assert {f.code for _, f in row.findings} >= {"certificate-expired"}


def test_lifetime_of_a_public_ca(town: Town, root: Authority, issuer: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test CA stands for a browser's root programme: a leaf of 398 days issued in 2026-11 is too long, one of 100 days is not."""
    from cryptography.hazmat.primitives.serialization import Encoding

    anchor = parse_certificate(root.certificate.public_bytes(Encoding.DER))
    monkeypatch.setattr(TrustStore, "load", classmethod(lambda cls, *_, **__: cls([anchor])))
    town.serve(issuer.issue(HOST, days=398), REDIRECT, f"{HSTS} return 200 ok;")
    row = town.stand("lifetime-200")
    assert row.state is State.FAILS
    assert {f.code for _, f in row.findings} == {"validity-too-long"}


def test_a_certificate_of_a_private_ca_is_not_bound(town: Town, issuer: Authority) -> None:
    town.serve(issuer.issue(HOST, days=398), REDIRECT, f"{HSTS} return 200 ok;")
    Survey(town.database, town.settings, Options()).run()
    found, _ = subjects(town.database, clock())
    assert {r.deadline.name for r in judge(found, all_deadlines(town.database), clock())} & {"lifetime-200"} == set()


def test_as_of_the_past_uses_what_was_known_then(town: Town, issuer: Authority) -> None:

    town.serve(issuer.issue(HOST), "return 200 ok;", f"{HSTS} return 200 ok;")
    assert town.stand("chrome-68").state is State.FAILS
    then = clock()
    clock.advance(seconds=2)
    town.stack.close()
    town.serve(issuer.issue(HOST), REDIRECT, f"{HSTS} return 200 ok;")
    assert town.stand("chrome-68").state is State.COMPLIES
    assert town.row("chrome-68", then).state is State.FAILS


def test_as_of_the_future_knows_that_the_certificate_ends(town: Town, issuer: Authority) -> None:
    from inventory.store import deadlines

    now = clock()
    town.serve(issuer.issue(HOST, not_before=now - DAY, days=90), REDIRECT, f"{HSTS} return 200 ok;")
    with town.database.write() as tx:
        deadlines.add(
            tx, "own", {"at": now + 200 * DAY, "rule": "valid-certificate", "title": "own", "purchase_days": 7, "validation_days": 7, "installation_days": 7},
            tuple(RULES), for_clients=[], tags=[],
        )  # fmt: skip
    assert town.stand("own").state is State.COMPLIES
    assert town.row("own", now + 95 * DAY).state is State.WILL_FAIL
    assert town.row("own", now + 201 * DAY).state is State.FAILS


# -- the command line --------------------------------------------------------------------------------------------------

Run = Callable[..., Ran]


def test_deadlines_on_the_command_line(certmgr: Run) -> None:
    assert certmgr("client", "add", "1001", "Shop").code == 0
    done = certmgr("deadline", "add", "all-https", "--date", "2027-06-30", "--title", "All sites on HTTPS", "--text", "Buy in time", "--client", "1001",
                   "--purchase-days", "20")  # fmt: skip
    assert done.code == 0, done.err
    listed = certmgr("deadline", "list", "--own", "--format", "json").json["deadlines"]
    assert listed[0]["date"] == "2027-06-30T23:59:59Z"
    assert (listed[0]["purchase"], listed[0]["validation"], listed[0]["rule"], listed[0]["for"]) == (
        20,
        7,
        "https-only",
        ["1001"],
    )
    assert certmgr("deadline", "edit", "all-https", "--date", "2027-07-31", "--tag", "gold").code == 0
    assert certmgr("deadline", "list", "--own", "--format", "json").json["deadlines"][0]["for"] == ["1001", "tag gold"]
    assert certmgr("deadline", "edit", "all-https", "--client", "").code == 0
    assert certmgr("deadline", "list", "--own", "--format", "json").json["deadlines"][0]["for"] == ["tag gold"]
    assert certmgr("deadline", "retire", "all-https").code == 0
    assert certmgr("deadline", "list", "--own").out.strip() == "There are no deadlines of your own."
    everything = certmgr("deadline", "list", "--format", "json").json["deadlines"]
    assert {d["name"] for d in everything} >= {m.name for m in milestones()}


@pytest.mark.parametrize(("arguments", "said"), [
    (("add", "x"), "--date is missing"),
    (("add", "x", "--date", "30.06.2027"), "is not a date"),
    (("add", "x", "--date", "2027-06-30", "--rule", "https"), "known are"),
    (("add", "x", "--date", "2027-06-30", "--client", "4711"), "no client"),
    (("add", "chrome-68", "--date", "2027-06-30"), "ships with certmgr"),
    (("add", " ", "--date", "2027-06-30"), "name is empty"),
    (("edit", "nobody", "--date", "2027-06-30"), "no deadline"),
    (("retire", "nobody"), "no deadline"),
])  # fmt: skip
def test_wrong_deadlines_are_one_clear_line(certmgr: Run, arguments: tuple[str, ...], said: str) -> None:
    done = certmgr("deadline", *arguments)
    assert done.code in (2, 3)
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(("arguments", "said"), [
    (("--client", "4711"), "no client"), (("--as-of", "someday"), "is not a date"), (("--deadline", "nothing"), "no deadline"),
    (("--deadline", "chrome-90"), "Nothing can be checked"),
])  # fmt: skip
def test_wrong_calls_of_compliance(certmgr: Run, arguments: tuple[str, ...], said: str) -> None:
    done = certmgr("compliance", *arguments)
    assert done.code == 2
    assert said in done.err


def test_compliance_on_the_command_line(certmgr: Run, town: Town, issuer: Authority, tmp_path: Path) -> None:
    town.serve(issuer.issue(HOST), "index page.html;", f"{HSTS} return 200 ok;", "<input type=password name=pw>")
    Survey(town.database, town.settings, Options()).run()
    done = certmgr("--database", str(tmp_path / "town.db"), "compliance", "--format", "json")
    assert done.code == 1, "a password over HTTP is critical"
    (row,) = [r for r in done.json["rows"] if r["deadline"] == "chrome-56"]
    assert (row["status"], row["codes"], row["domain"], row["client"]) == (
        "does-not-comply",
        ["http-collects-secrets"],
        HOST,
        "1001",
    )
    (announced,) = [r for r in done.json["rows"] if r["deadline"] == "chrome-154"]
    assert announced["confirmed"] is False
    assert done.json["summary"]["domains"] == 1
    table = certmgr("--database", str(tmp_path / "town.db"), "compliance")
    assert "does not comply" in table.out
    assert certmgr("--database", str(tmp_path / "town.db"), "compliance", "--exit-zero").code == 0
    csv = certmgr("--database", str(tmp_path / "town.db"), "compliance", "--format", "csv", "--client", "1001")
    assert csv.out.startswith("domain,client,status,")
