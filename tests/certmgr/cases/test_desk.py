"""Working on cases in both kinds of database: two at once, clients apart, cases that open by themselves, what is expected where."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.cases import intake
from certmgr.cases.calendars import entries
from certmgr.cases.expect import expectations
from certmgr.cases.material import Material
from certmgr.cases.measures import measures
from certmgr.cases.news import gather
from certmgr.cases.opening import due_cases, run
from certmgr.cases.proof import Sight
from certmgr.cases.states import Action
from certmgr.cases.work import Desk
from certmgr.config import Settings
from certmgr.demo.authority import Authority
from certmgr.orders.model import Leads
from inventory.certificates import parse
from inventory.database import Database
from inventory.errors import CertmgrError, Conflict, NotFound, UsageError
from inventory.model import Finding
from inventory.store import cases, clients, contacts, orders
from notifiers.calendar import publish
from tests.certmgr.cases.place import START, Place, issue, serve
from tests.certmgr.cases.place import place as make

HOST = "shop.example.com"


@pytest.fixture
def place(database: Database, settings: Settings, tmp_path: Path) -> Iterator[Place]:
    made = make(database, settings, tmp_path)
    made.staff()
    made.client("1001", HOST, "www.shop.example.com")
    made.client("1002", "other.example.org")
    yield made


def eyes(sha: str | None, *addresses: str) -> Any:
    """A server that shows this leaf (EC) at these addresses."""

    def see(_settings: Any, wanted: Any, _overrides: Any) -> list[Sight]:
        return [
            Sight(w.target.host, w.target.port, a, k, sha if k == "EC" else None)
            for w in wanted
            for a in addresses or ("192.0.2.1",)
            for k in ("EC", "RSA")
        ]

    return see


def ready(place: Place, issuer: Authority, *names: str, client: str = "1001", life: int = 190, **given: Any) -> tuple[str, str]:
    """A case whose certificate was checked: (reference, SHA-256)."""
    reference = place.desk.open(client, names or [HOST], given)["reference"]
    (pem,) = intake.make_csr(place.desk, reference)
    intake.send(place.desk, reference)
    issued = issue(issuer, pem, start=place.now, life=timedelta(days=life))
    verdict = intake.receive(place.desk, reference, Material(tuple(parse(c.public_bytes(_der())) for c in issued.chain)))
    assert not verdict.refused, verdict.said
    return reference, parse(issued.der).sha256


def _der() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


def closed(place: Place, issuer: Authority, *names: str, **given: Any) -> tuple[str, str]:
    reference, sha = ready(place, issuer, *names, **given)
    place.desk.installed(reference, "at once")
    row, _ = replace_eyes(place, sha).verify(reference)
    assert row["state"] == "closed"
    return reference, sha


def replace_eyes(place: Place, sha: str | None, *addresses: str) -> Desk:
    return replace(place.desk, eyes=eyes(sha, *addresses))


# -- moving ----------------------------------------------------------------------------------------------------------------


def test_two_administrators_at_once_and_the_second_is_told(place: Place, issuer: Authority) -> None:
    reference, _ = ready(place, issuer)
    seen = place.row(reference)["version"]
    carol = Desk(Database(place.database.engine, "Carol"), place.settings, place.now)
    carol.approve(reference, "Ada", "telephone")
    with pytest.raises(Conflict) as error:
        replace(place.desk, seen=seen).note(reference, "she did not pick up")
    assert "Carol" in str(error.value)
    assert "approve" in str(error.value)
    assert place.events(reference)[-1] == "approve", "nothing of the second was done"


def test_of_two_at_the_same_moment_one_wins(place: Place, issuer: Authority) -> None:
    """Both read the same version; their writes race."""
    reference, _ = ready(place, issuer)
    place.desk.approve(reference, "Ada", "telephone")
    row = place.row(reference)
    start, results = threading.Barrier(6), []

    def go(number: int) -> None:
        start.wait()
        try:
            with place.database.write(place.now) as tx:
                place.desk.move(
                    tx,
                    row,
                    Action.AGREE,
                    f"window {number}",
                    window_start=1,
                    window_end=2,
                    window_zone="UTC",
                    window_state="agreed",
                )
            results.append(True)
        except Conflict:
            results.append(False)

    threads = [threading.Thread(target=go, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results.count(True) == 1
    assert place.events(reference).count("agree") == 1
    assert place.row(reference)["version"] == row["version"] + 1


def test_what_does_not_follow_is_refused_and_says_what_does(place: Place) -> None:
    reference = place.desk.open("1001", [HOST])["reference"]
    desk = place.desk
    tries: list[Any] = [
        lambda: desk.installed(reference, "x"), lambda: desk.verify(reference), lambda: desk.close(reference), lambda: intake.send(desk, reference),
        lambda: desk.lift(reference, "x"), lambda: desk.end(reference, Action.REOPEN, "x"),
    ]  # fmt: skip
    for act in tries:
        with pytest.raises(Conflict) as error:
            act()
        assert error.value.todo
    assert place.events(reference) == ["open"]
    with pytest.raises(UsageError, match="reason is empty"):
        desk.end(reference, Action.CANCEL, "  ")
    with pytest.raises(NotFound):
        desk.note("CM-NONE22", "x")


def test_a_window_needs_the_clients_word_or_a_reason(place: Place, issuer: Authority) -> None:
    reference, _ = ready(place, issuer)
    with pytest.raises(UsageError, match="Nobody of the client agreed"):
        place.desk.agree(reference, "2026-11-26T10:00")
    row, _ = place.desk.agree(reference, "2026-11-26T10:00", text="the CA revokes tonight")
    assert row["state"] == "window-agreed"


def test_a_case_of_one_name_at_a_time(place: Place) -> None:
    first = place.desk.open("1001", [HOST])["reference"]
    with pytest.raises(Conflict, match=first):
        place.desk.open("1001", ["www.shop.example.com", HOST])
    place.desk.end(first, Action.DECLINE, "not wanted")
    second = place.desk.open("1001", [HOST])["reference"]
    with pytest.raises(Conflict, match=second):
        place.desk.end(first, Action.REOPEN, "wanted after all")


def test_a_name_of_another_client_is_refused(place: Place) -> None:
    with pytest.raises(CertmgrError, match="belongs to the client 1002"):
        place.desk.open("1001", ["www.other.example.org"])
    with pytest.raises(UsageError, match="contact of a client"):
        place.desk.open("1001", [HOST], {"staff": "Owner 1002"})
    with pytest.raises(NotFound):
        place.desk.open("1001", [HOST], {"contact": "Owner 1002"})


# -- the proof -----------------------------------------------------------------------------------------------------------


def test_without_a_look_that_saw_it_everywhere_nothing_closes(place: Place, issuer: Authority) -> None:
    reference, sha = ready(place, issuer)
    place.desk.installed(reference, "at once")
    for shown, addresses in ((None, ("192.0.2.1",)), ("f" * 64, ("192.0.2.1", "192.0.2.2"))):
        row, proof = replace_eyes(place, shown, *addresses).verify(reference)
        assert row["state"] == "installed", proof
    before = len(place.events(reference))
    replace_eyes(place, "f" * 64, "192.0.2.1", "192.0.2.2").verify(reference)
    assert len(place.events(reference)) == before, "the same sight again is no event"
    row, _ = replace_eyes(place, sha, "192.0.2.1", "192.0.2.2").verify(reference)
    assert row["state"] == "closed"
    with place.database.read() as conn:
        (issued,) = cases.issuances(conn, [row["id"]])[row["id"]]
    assert issued["live_at"] is not None


def test_a_window_that_is_over_is_looked_at_and_an_error_of_one_case_stops_no_other(place: Place, issuer: Authority) -> None:
    first, _ = ready(place, issuer)
    second, sha = ready(place, issuer, "other.example.org", client="1002")
    for reference in (first, second):
        place.desk.agree(reference, "2026-11-26T10:00", text="agreed by mail")
    place.pass_(days=2)

    def see(_settings: Any, wanted: Any, _overrides: Any) -> list[Sight]:
        if wanted[0].target.host == HOST:
            raise CertmgrError("The resolver is dead")
        return list(eyes(sha)(_settings, wanted, _overrides))

    done = run(replace(place.desk, eyes=see))
    assert done.closed == [second]
    assert len(done.problems) == 1
    assert first in done.problems[0]


def test_a_scan_that_saw_the_old_certificate_reopens_the_case(place: Place, issuer: Authority) -> None:
    old = issuer.issue(HOST, not_before=place.now - timedelta(days=80), not_after=place.now + timedelta(days=10))
    serve(place.database, HOST, old, place.now)
    reference, _ = closed(place, issuer)
    assert run(place.desk).reopened == []
    place.pass_(days=3)
    evidence = {"serial": "1", "sha256": [parse(old.der).sha256], "issuer": "x"}
    serve(
        place.database,
        HOST,
        old,
        place.now,
        findings=[Finding("unexpected-certificate", "high", ("192.0.2.1",), evidence, "staff")],
    )
    assert run(place.desk).reopened == [reference]
    row = place.row(reference)
    assert (row["state"], row["closed_at"]) == ("reopened", None)
    assert run(place.desk).reopened == [], "once"


# -- what opens by itself ---------------------------------------------------------------------------------------------------


def test_renewals_open_when_their_time_comes_and_robots_are_left_alone(place: Place, issuer: Authority) -> None:
    with place.database.write(place.now) as tx:
        orders.add(
            tx,
            "1001",
            {
                "vendor": "V",
                "number": "1",
                "starts_at": place.now - timedelta(days=300),
                "ends_at": place.now + timedelta(days=40),
            },
            [HOST],
        )
        orders.add(tx, "1002", {"vendor": "V", "number": "2"}, ["other.example.org"])
    leads, ahead = Leads(7, 7, 7), timedelta(days=14)
    found = due_cases(place.database, place.now, leads, ahead)
    assert {(d.client, d.given["kind"]) for d in found} == {("1001", "new"), ("1002", "new")}
    with place.database.write(place.now) as tx:
        clients.edit(tx, "1002", {"renews": "panel"})
    assert [d.client for d in due_cases(place.database, place.now, leads, ahead)] == ["1001"]
    done = run(place.desk)
    assert len(done.opened) == 1
    assert run(place.desk).opened == [], "what has an open case is not opened again"


def test_a_renewal_knows_who_spoke_and_who_led_the_last_time(place: Place, issuer: Authority) -> None:
    place.staff("Carol", "email:carol@provider.example")
    with place.database.write(place.now) as tx:
        contacts.add(tx, "1001", {"name": "Tom", "role": "technical"}, ("email:tom@client1001.example",))
    reference, _ = closed(place, issuer, contact="Tom", staff="Carol", life=20)
    first = place.row(reference)
    place.pass_(days=10)
    (again,) = run(replace_eyes(place, None)).opened
    row = place.row(again)
    assert (row["contact_id"], row["staff_id"]) == (first["contact_id"], first["staff_id"])
    assert None not in (row["contact_id"], row["staff_id"])
    other = place.row(place.desk.open("1002", ["other.example.org"])["reference"])
    assert other["contact_id"] is None, "another client's contact is never taken"


def test_an_order_that_ends_opens_its_renewal(place: Place, issuer: Authority) -> None:
    with place.database.write(place.now) as tx:
        orders.add(
            tx,
            "1001",
            {
                "vendor": "V",
                "number": "1",
                "starts_at": place.now - timedelta(days=300),
                "ends_at": place.now + timedelta(days=60),
            },
            [HOST],
        )
    reference, _ = ready(place, issuer, order="1", life=60)
    place.desk.installed(reference, "x")
    row = place.row(reference)
    with place.database.read() as conn:
        sha = cases.issuances(conn, [row["id"]])[row["id"]][0]["sha256"]
    replace_eyes(place, sha).verify(reference)
    assert run(place.desk).opened == []
    place.pass_(days=30)
    (second,) = run(place.desk).opened
    assert place.row(second)["kind"] == "renewal"
    with place.database.write(place.now) as tx:
        orders.renew(tx, "1", {"number": "1b"})
    place.desk.end(second, Action.CANCEL, "bought already")
    assert [d.given for d in due_cases(place.database, place.now, Leads(7, 7, 7), timedelta(days=14))] == []


def test_a_case_without_an_order_is_followed_before_its_certificate_ends(place: Place, issuer: Authority) -> None:
    first, _ = closed(place, issuer, life=90)
    assert run(place.desk).opened == []
    place.pass_(days=90 - 21 - 13)
    (second,) = run(place.desk).opened
    row = place.row(second)
    assert (row["kind"], row["names"]) == ("renewal", [HOST])
    assert row["reference"] != first


# -- what is expected where -------------------------------------------------------------------------------------------------


def test_only_what_a_case_proved_is_expected_and_what_comes_next_too(place: Place, issuer: Authority) -> None:
    def now() -> dict[str, frozenset[str]]:
        with place.database.read() as conn:
            found = expectations(cases.expected(conn), lambda ids: cases.places(conn, ids), int(place.now.timestamp()))
            hosts = {e["id"]: e["host"] for c in cases.places(conn, [1, 2, 3]).values() for e in c}
        return {hosts[i]: v for i, v in found.items()}

    reference, sha = ready(place, issuer)
    assert now() == {}, "nothing was proved yet"
    place.desk.installed(reference, "x")
    replace_eyes(place, sha).verify(reference)
    assert now() == {HOST: frozenset({sha})}
    place.pass_(days=1)
    _, following = ready(place, issuer)
    assert now() == {HOST: frozenset({sha, following})}


# -- clients apart ------------------------------------------------------------------------------------------------------------


def test_everything_that_a_clients_output_is_made_from_is_that_clients(place: Place, issuer: Authority) -> None:
    """Two clients, one certificate, a case, an order and a window each: calendars, subjects of notices, reports."""
    from certmgr.compliance.standing import all_deadlines
    from certmgr.report.load import material
    from certmgr.report.tabular import to_json
    from certmgr.report.view import build

    shared = issuer.issue(
        HOST, "other.example.org", not_before=place.now - timedelta(days=1), not_after=place.now + timedelta(days=100)
    )
    for number, name in (("1001", HOST), ("1002", "other.example.org")):
        serve(place.database, name, shared, place.now)
        with place.database.write(place.now) as tx:
            orders.add(
                tx,
                number,
                {"vendor": f"Vendor{number}", "number": f"N{number}", "ends_at": place.now + timedelta(days=30)},
                [name],
            )
        reference, _ = ready(place, issuer, name, client=number)
        place.desk.agree(reference, "2026-11-27T10:00", text=f"word of {number}")
    for mine, other, theirs in (("1001", "1002", "other.example"), ("1002", "1001", "shop.example")):
        texts = [publish(entries(place.database, place.settings, place.now, mine), "c", place.now)]
        made = build(
            material(
                place.database,
                mine,
                place.now,
                as_of=None,
                provider="P",
                dues=all_deadlines(place.database),
                default_language="en",
                default_zone="UTC",
            )
        )
        texts.append(to_json(made))
        with place.database.read() as conn:
            news = gather(conn, place.now, {}, Leads(), 60)
        texts += [repr(s) for s in news.subjects if s.client == mine]
        for text in texts:
            assert mine in text
            assert f"Vendor{other}" not in text
            assert theirs not in text
        assert "Installation window" in texts[1] or "installation" in texts[1]


def test_measures_by_month(place: Place, issuer: Authority) -> None:
    from datetime import UTC

    reference, sha = ready(place, issuer)
    place.pass_(hours=48)
    place.desk.installed(reference, "x")
    place.pass_(hours=2)
    replace_eyes(place, sha).verify(reference)
    place.desk.open("1002", ["other.example.org"])
    place.now = START + timedelta(days=40)
    with place.database.read() as conn:
        found = measures(cases.listing(conn), cases.events_of(conn), place.now, UTC)
    months = {m.month: m for m in found}
    november, january = months["2026-11"], months["2027-01"]
    assert (november.opened, november.closed, november.resolve) == (2, 1, 50.0)
    assert november.states["checked"] == 48.0
    assert january.overdue == {"provider": 1}


def test_a_run_for_cron_opens_what_is_due(place: Place) -> None:
    from certmgr.operations.round import run as round_

    with place.database.write(place.now) as tx:
        orders.add(tx, "1001", {"vendor": "V", "number": "1"}, [HOST])
    done = round_(place.database, place.settings, scan=False)
    assert "1 case(s) opened, 0 closed, 0 reopened" in done.said
    assert not [p for p in done.problems if p.startswith("cases")]


def test_doctor_misses_a_key_and_a_leader(place: Place, issuer: Authority) -> None:
    from certmgr.cases.health import examine

    reference, _ = ready(place, issuer)
    assert [s for s, _, _ in examine(place.database, place.settings, place.now)] == ["ok"]
    path = place.desk.keys.path(reference, "ec-p256")
    path.chmod(0o640)
    assert [w for s, w, _ in examine(place.database, place.settings, place.now) if s == "fault"] == [
        f"{reference}: its key {path} can be read by others"
    ]
    path.unlink()
    place.pass_(days=30)
    found = {s: w for s, w, _ in examine(place.database, place.settings, place.now)}
    assert "cannot be read" in found["fault"]
    assert "1 of 1 open cases are overdue" in found["warning"]


def test_an_issuer_is_fetched_where_that_is_allowed(place: Place, root: Authority) -> None:
    """The vendor's chain was forgotten; its AIA URL has it. Without the configuration nobody is asked."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from cryptography import x509
    from cryptography.x509.oid import AuthorityInformationAccessOID

    ca = Authority("Far Issuer", root, path_length=0)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(ca.der)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = x509.UniformResourceIdentifier(f"http://127.0.0.1:{server.server_address[1]}/ca.der")
        aia = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url)])
        reference = place.desk.open("1001", [HOST])["reference"]
        (pem,) = intake.make_csr(place.desk, reference)
        intake.send(place.desk, reference)
        issued = issue(ca, pem, start=place.now, extensions=((aia, False),))
        alone = Material((parse(issued.der),))
        assert intake.judge_only(place.desk, reference, alone).refused
        assert asked == []
        settings = replace(place.settings, trust=replace(place.settings.trust, fetch_issuers=True))
        assert intake.judge_only(replace(place.desk, settings=settings), reference, alone).refused
        assert asked == [], "an internal address is refused"
        allowed = replace(settings, network=replace(settings.network, allow=("127.0.0.0/8",)))
        verdict = intake.judge_only(replace(place.desk, settings=allowed), reference, alone)
        assert not verdict.refused, verdict.said
        assert asked == ["/ca.der"]
    finally:
        server.shutdown()
        server.server_close()


def test_a_renewal_goes_on_under_the_order_that_follows(place: Place, issuer: Authority) -> None:
    with place.database.write(place.now) as tx:
        orders.add(
            tx,
            "1001",
            {
                "vendor": "V",
                "number": "1",
                "starts_at": place.now - timedelta(days=360),
                "ends_at": place.now + timedelta(days=20),
            },
            [HOST],
        )
    reference = place.desk.open("1001", [], {"order": "1", "kind": "renewal"})["reference"]
    (pem,) = intake.make_csr(place.desk, reference)
    intake.send(place.desk, reference)
    with place.database.write(place.now) as tx:
        new_id = orders.renew(tx, "1", {"number": "2"})
    assert place.row(reference)["order_id"] == new_id
    issued = issue(issuer, pem, start=place.now)
    intake.receive(place.desk, reference, Material(tuple(parse(c.public_bytes(_der())) for c in issued.chain)))
    with place.database.read() as conn:
        assert [len(o["issued"]) for o in orders.listing(conn, ids=[new_id])] == [1]


def test_what_is_no_longer_looked_after_opens_nothing(place: Place, issuer: Authority) -> None:
    from inventory.store import domains

    closed(place, issuer, life=90)
    with place.database.write(place.now) as tx:
        orders.add(tx, "1002", {"vendor": "V", "number": "1"}, ["other.example.org"])
    place.pass_(days=80)
    assert len(due_cases(place.database, place.now, Leads(), timedelta(days=14))) == 2
    with place.database.write(place.now) as tx:
        domains.edit(tx, HOST, {"state": "leaving"})
        clients.retire(tx, "1002")
    assert due_cases(place.database, place.now, Leads(), timedelta(days=14)) == []


def test_a_look_at_addresses_of_ones_choice_proves_nothing(place: Place, issuer: Authority) -> None:
    reference, sha = ready(place, issuer)
    place.desk.installed(reference, "x")
    row, proof = replace_eyes(place, sha).verify(reference, {(HOST, 443): ("192.0.2.9",)})
    assert proof.state == "live"
    assert row["state"] == "installed"
    assert place.events(reference)[-1] == "install"


def test_a_window_agreed_after_a_reopening_is_newer_than_the_one_before(place: Place, issuer: Authority) -> None:
    reference, _ = ready(place, issuer)
    place.desk.agree(reference, "2026-11-26T10:00", text="x")
    place.desk.installed(reference)
    row = place.desk.end(reference, Action.REOPEN, "wrong server")
    assert (row["installed_at"], row["window_state"], row["window_sequence"]) == (None, "cancelled", 1), (
        "it lies ahead, and is called off"
    )
    row, _ = place.desk.agree(reference, "2026-11-27T10:00", text="x")
    assert row["window_sequence"] == 2, "a calendar ignores an entry that is not newer"
    place.now += timedelta(days=3)
    place.desk.installed(reference)
    row = place.desk.end(reference, Action.REOPEN, "wrong server")
    assert (row["window_state"], row["window_sequence"]) == ("none", 2), "what is past is past"


def test_a_panel_that_renews_by_itself_is_expected_nowhere(place: Place) -> None:
    from certmgr.survey import _robot

    with place.database.read() as conn:
        from inventory.store import endpoints

        rows = endpoints.visited(conn, [e["id"] for e in cases.places(conn, [1, 2, 3]).get(1, [])])
    assert [_robot(r) for r in rows] == [False, False]
    with place.database.write(place.now) as tx:
        clients.edit(tx, "1001", {"renews": "panel"})
    with place.database.read() as conn:
        assert all(_robot(r) for r in endpoints.visited(conn, [r["id"] for r in rows]))


def test_a_certificate_that_was_linked_to_an_order_is_expected_too(place: Place, issuer: Authority, tmp_path: Path) -> None:
    with place.database.write(place.now) as tx:
        orders.add(tx, "1001", {"vendor": "V", "number": "1"}, [HOST])
    _, sha = closed(place, issuer)
    own = issuer.issue(HOST, days=90)
    (tmp_path / "own.pem").write_bytes(own.chain_pem)
    linked = intake.attach(place.database, place.now, "1", str(tmp_path / "own.pem"))
    with place.database.read() as conn:
        found = expectations(cases.expected(conn), lambda ids: cases.places(conn, ids), int(place.now.timestamp()))
    assert frozenset({sha, linked}) in found.values()
