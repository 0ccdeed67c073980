"""Who hears what, and why not: an inventory that moves through time, on both databases where rows are written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from inventory.database import Database, open_database
from inventory.store import clients, contacts, domains, findings, matters, outbox, people
from notifiers.days import Freeze
from notifiers.outcome import Escalated, Resolved, WeAct, YouAct
from notifiers.plan import Policy
from notifiers.record import Outcome
from notifiers.staff import Call
from notifiers.thresholds import Rules as Thresholds
from tests.notifiers.street import DAY, START, Street, fault


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(open_database(str(tmp_path / "street.db"), actor="tester"))


def said(outcome: Outcome) -> list[tuple[str, str, str]]:
    """(subject, threshold, step) of everything that went out to clients."""
    return [(i.subject.key, i.label, i.step) for d, _ in outcome.drafts for i in d.items]


def reasons(outcome: Outcome, street: Street, key: str) -> list[str]:
    with street.database.read() as conn:
        return [f"{r['action']}: {r['reason']}" for r in matters.decisions(conn, [key])]


def year(street: Street, number: str = "1", host: str = "shop.example", left: float = 100, life: float = 398) -> str:
    """A client with one site whose certificate ends in ``left`` days; the first sight is over."""
    if number not in {c["number"] for c in _clients(street)}:
        street.client(number)
    site = street.site(host, number)
    site.serve(street.now - (life - left) * DAY, life * DAY)
    street.baseline()
    return site.key


def _clients(street: Street) -> list[dict[str, object]]:
    with street.database.read() as conn:
        return [dict(c) for c in people.clients(conn).values()]


# -- thresholds ------------------------------------------------------------------------------------------------------------


def test_a_year_has_each_threshold_once(street: Street) -> None:
    key = year(street, left=100)
    heard = []
    for _ in range(130):
        outcome = street.day()
        street.sent()
        heard += [label for k, label, _ in said(outcome) if k == key]
    assert heard == ["60", "30", "14", "7", "3", "1", "0", "+1", "+7", "+14", "+21", "+28"]


def test_a_missed_week_gives_one_notice(street: Street) -> None:
    key = year(street, left=35)
    street.day(6)
    street.sent()
    assert said(street.day(24)) == [(key, "7", "owner")], "30 was said, then nothing ran over 14 and 7"
    street.sent()
    assert said(street.notify()) == []


def test_a_first_sight_past_every_threshold_gives_one_notice(street: Street) -> None:
    street.client("1")
    street.site("old.example", "1").serve(START - 10 * DAY, 398 * DAY)
    street.baseline()
    late = street.site("late.example", "1")
    late.serve(START - 405 * DAY, 398 * DAY)
    assert said(street.day()) == [(late.key, "+7", "owner")]
    street.sent()
    assert said(street.notify()) == []


def test_a_new_certificate_starts_a_new_round(street: Street) -> None:
    key = year(street, left=8)
    assert said(street.day()) == [(key, "7", "owner")]
    street.sent()
    street.sites["shop.example"].serve(street.now, 100 * DAY)
    assert said(street.day()) == [(key, "+0", "resolved")]
    street.sent()
    heard = []
    for _ in range(95):
        heard += said(street.day())
        street.sent()
    assert [label for _, label, _ in heard][:3] == ["30", "14", "7"]


def test_thresholds_of_a_tag_and_of_a_client(street: Street) -> None:
    policy = Policy(Thresholds(by_client={"1": (90,)}))
    street = Street(street.database, policy=policy)
    key = year(street, left=100)
    outcome = street.day(10)
    assert said(outcome) == [(key, "90", "owner")]


def test_lead_times_are_counted_backwards(street: Street) -> None:
    key = year(street, left=31)
    outcome = street.day()
    ((draft, message),) = outcome.drafts
    assert said(outcome) == [(key, "30", "owner")]
    # Three weeks for buying, validating and installing: nine days from now is a Thursday.
    assert draft.outcome == YouAct(date(2026, 3, 12))
    assert "You need to act by 12 March 2026." in message.text


def test_what_ends_in_a_change_freeze_is_due_before_it(tmp_path: Path) -> None:
    start = datetime(2026, 11, 2, 10, tzinfo=UTC)
    policy = Policy(freezes=(Freeze(date(2026, 12, 14), date(2027, 1, 6)),))
    street = Street(open_database(str(tmp_path / "f.db"), actor="t"), start, policy)
    key = year(street, left=51)  # ends on 23 December: as if it ended on 13 December
    heard: dict[str, date] = {}
    for _ in range(45):
        outcome = street.day()
        street.sent()
        heard |= {label: street.now.date() for k, label, _ in said(outcome) if k == key}
    assert heard["30"] <= date(2026, 11, 16)
    assert heard["7"] == date(2026, 12, 7)


def test_a_robot_that_renews_in_time_is_no_news(street: Street) -> None:
    """90 days, replaced 30 days before the end, twice; the third time it is late."""
    street.client("1")
    site = street.site("auto.example", "1")
    site.serve(START, 90 * DAY)
    street.baseline()
    for _ in range(2):
        for _ in range(59):
            assert said(street.day()) == []
        site.serve(street.now, 90 * DAY)
    street.scan()
    heard = []
    for _ in range(75):
        heard += said(street.day())
        street.sent()
    assert heard == [], "thirty days before the end are the robot's"
    for _ in range(4):
        heard += said(street.day())
        street.sent()
    assert [label for _, label, _ in heard] == ["14"], "late is news"


def test_a_stated_panel_counts_from_its_day(street: Street) -> None:
    street.client("1", renews="cdn")
    site = street.site("cdn.example", "1")
    site.serve(START - 50 * DAY, 90 * DAY)
    street.baseline()
    heard = [x for _ in range(25) for x in said(street.day())]
    assert heard == []
    assert [label for _, label, _ in said(street.day(3))] == ["14"]


# -- before it is sent -------------------------------------------------------------------------------------------------------


def test_renewed_elsewhere_is_not_told(street: Street) -> None:
    """The scan still knows the old certificate; the fresh look sees the new one."""
    key = year(street, left=8)
    street.pass_(1)
    street.scan()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    outcome = street.notify()
    assert said(outcome) == []
    assert reasons(outcome, street, key)[0] == "suppress: replaced on every address"
    assert said(street.day()) == [], "and nobody is thanked for what they were never asked"


def test_replaced_on_some_addresses_is_for_the_administrator(street: Street) -> None:
    street.staff()
    key = year(street, left=8)
    site = street.sites["shop.example"]
    site.serve(START - 390 * DAY, 398 * DAY, ("192.0.2.1", "192.0.2.2"))
    street.scan()
    site.serve(street.now, 398 * DAY, ("192.0.2.2",), keep=True)
    outcome = street.day()
    assert said(outcome) == []
    assert reasons(outcome, street, key)[0].startswith("staff: replaced on some addresses")
    assert any("replaced on some addresses only" in m.text for _, m in outcome.staff)


def test_a_look_that_fails_waits_a_day_and_no_longer(street: Street) -> None:
    street.staff()
    key = year(street, left=8)
    street.pass_(1)
    street.scan()
    street.sites["shop.example"].blind = True
    assert said(street.notify()) == []
    assert "wait: a fresh look did not succeed" in reasons(street.notify(), street, key)[0]
    street.pass_(1, 1)
    assert said(street.notify()) == [(key, "7", "owner")], "the end comes, whether we can look or not"


def test_accepted_leaving_and_retired_are_silent(street: Street) -> None:
    key = year(street, left=8)
    with street.database.write(street.now) as tx:
        findings.accept(
            tx,
            "certificate-expiring",
            frozenset({"certificate-expiring"}),
            street.now + 30 * DAY,
            "moves",
            domain_id=street.sites["shop.example"].domain_id,
        )
    outcome = street.day()
    assert said(outcome) == []
    assert reasons(outcome, street, key)[0].startswith("suppress: accepted by tester until")
    other = street.site("leaving.example", "1")
    other.serve(START - 391 * DAY, 398 * DAY)
    with street.database.write(street.now) as tx:
        domains.edit(tx, "leaving.example", {"state": "leaving"})
    outcome = street.day()
    assert said(outcome) == []
    assert reasons(outcome, street, other.key)[0] == "suppress: the domain is leaving"
    with street.database.write(street.now) as tx:
        domains.retire(tx, "leaving.example")
    assert said(street.day()) == []


def test_snoozes_and_maintenance_windows(street: Street) -> None:
    key = year(street, left=8)
    with street.database.write(street.now) as tx:
        number = matters.add_snooze(
            tx, "domain", street.sites["shop.example"].domain_id, tx.at, tx.at + 3 * 86_400, "server moves", "Ada"
        )
    outcome = street.day()
    assert said(outcome) == []
    assert "snoozed until 2026-03-05 10:00 UTC: server moves" in reasons(outcome, street, key)[0]
    with street.database.write(street.now) as tx:
        assert matters.end_snooze(tx, number)
    assert said(street.notify()) == [(key, "7", "owner")]


def test_acknowledged_and_not_mended_climbs_again(street: Street) -> None:
    key = year(street, left=31)
    street.day()
    street.sent()
    with street.database.write(street.now) as tx:
        row = matters.by_key(tx.conn, [key])[key]
        matters.acknowledge(tx, [row["id"]], "the owner, by telephone")
    heard = []
    for _ in range(12):
        heard += said(street.day())
        street.sent()
    assert heard == [], "acknowledged for a week, and then nothing new is due"
    heard = []
    for _ in range(20):
        heard += said(street.day())
        street.sent()
    assert [label for _, label, _ in heard][:2] == ["14", "7"]


# -- who -----------------------------------------------------------------------------------------------------------------------


def test_no_acknowledgement_climbs_to_the_fallback_and_then_to_the_telephone(street: Street) -> None:
    street.client("1", account_manager="Grace")
    with street.database.write(street.now) as tx:
        contacts.add(tx, "1", {"name": "Deputy", "role": "technical"}, ("email:deputy@client1.example", "phone:+49 30 1234567"))
        contacts.edit(tx, "Owner of 1", {"fallback": "Deputy"})
    key = year(street, left=31)
    street.day()
    street.sent()
    heard = []
    for _ in range(16):
        outcome = street.day()
        heard += [(d.person.name, i.label, i.step) for d, _ in outcome.drafts for i in d.items]
        street.sent()
    assert ("Deputy", "30", "fallback") in heard, "a week without an answer"
    assert ("Owner of 1", "14", "owner") in heard
    assert ("Deputy", "14", "fallback") in heard
    assert _calls(street)[0].phones == ("Deputy +49 30 1234567",)
    assert _calls(street)[0].manager == "Grace"
    with street.database.write(street.now) as tx:
        matters.acknowledge(tx, [matters.by_key(tx.conn, [key])[key]["id"]], "Deputy")
    assert _calls(street) == []


def _calls(street: Street) -> list[Call]:
    from notifiers.people import People, person_of
    from notifiers.plan import World
    from notifiers.staff import calls

    rules = street.rules
    with street.database.read() as conn:
        persons = [
            person_of(r, language="en", zone="UTC", country="", hours=rules.hours, weekdays=rules.weekdays)
            for r in people.contacts(conn)
        ]
        world = World(street.now, rules.policy, People(persons, people.clients(conn)))
        return list(calls(matters.listing(conn), outbox.said(conn), world, rules.policy))


def test_a_bad_address_starts_the_fallback(street: Street) -> None:
    street.client("1")
    with street.database.write(street.now) as tx:
        row_id = contacts.add(tx, "1", {"name": "Deputy", "role": "billing"}, ("email:deputy@client1.example",))
    key = year(street, left=8)
    with street.database.write(street.now) as tx:
        owner = next(c["id"] for c in contacts.listing(tx.conn) if c["name"] == "Owner of 1")
        assert people.mark_way(tx, owner, "owner1@client1.example", "bad")
    outcome = street.day()
    assert [(d.person.id, i.step) for d, _ in outcome.drafts for i in d.items] == [(row_id, "fallback")]
    assert said(outcome)[0][0] == key


def test_a_client_whom_nobody_can_write_to_is_called_and_staff_know(street: Street) -> None:
    street.staff()
    with street.database.write(street.now) as tx:
        clients.add(tx, {"number": "9", "name": "Silent Ltd", "renews": "client", "hosts": "us"})
    site = street.site("silent.example", "9")
    site.serve(START - 390 * DAY, 398 * DAY)
    street.baseline()
    outcome = street.day()
    assert said(outcome) == []
    assert reasons(outcome, street, site.key)[0] == "staff: nobody can be written to: the client has no contact"
    assert any("nobody can be written to" in m.text for _, m in outcome.staff)


def test_a_reseller_is_written_to_in_the_place_of_its_clients_and_sees_only_them(street: Street) -> None:
    street.client("50")
    street.client("51", reseller="50")
    street.client("60")
    for host, number in (("a.example", "51"), ("b.example", "60")):
        street.site(host, number).serve(START - 389 * DAY, 398 * DAY)
    street.baseline()
    outcome = street.day(2)
    got = {d.person.name: m for d, m in outcome.drafts}
    assert set(got) == {"Owner of 50", "Owner of 60"}
    assert "a.example" in got["Owner of 50"].text
    assert "b.example" not in got["Owner of 50"].text + got["Owner of 50"].html
    assert "a.example" not in got["Owner of 60"].text + got["Owner of 60"].html


def test_two_clients_with_the_same_certificate_hear_nothing_of_each_other(street: Street) -> None:
    street.client("1")
    street.client("2")
    names = {"1": "rosen.example", "2": "tulpen.example"}
    shared = fault("name-mismatch", "critical", names=["rosen.example", "tulpen.example"], subject="CN=tulpen.example")
    for number, host in names.items():
        street.site(host, number)
    street.baseline()
    for host in names.values():
        street.sites[host].faults = {"name-mismatch": shared}
    outcome = street.day()
    assert len(outcome.drafts) == 2
    for draft, message in outcome.drafts:
        own = names["1" if draft.person.name == "Owner of 1" else "2"]
        other = next(h for h in names.values() if h != own)
        assert own in message.text
        assert other not in message.subject + message.text + message.html
        assert "Owner of" in message.text
    assert len({m.reference for _, m in outcome.drafts}) == 2


def test_clients_are_not_written_to_at_night_or_on_holidays(tmp_path: Path) -> None:
    friday = datetime(2026, 4, 2, 20, tzinfo=UTC)  # Thursday evening before Good Friday
    street = Street(open_database(str(tmp_path / "n.db"), actor="t"), friday, country="DE")
    key = year(street, left=8)
    outcome = street.day(1)
    assert said(outcome) == []
    assert "quiet hours of contact 1 until 2026-04-07 08:00 UTC" in reasons(outcome, street, key)[0]
    street.now = datetime(2026, 4, 7, 9, tzinfo=UTC)
    assert said(street.notify()) == [(key, "7", "owner")]


def test_at_most_one_message_a_week_far_ahead_and_one_a_day_near(street: Street) -> None:
    street.client("1")
    for i, left in enumerate((61.5, 62.5, 63.5)):
        street.site(f"far{i}.example", "1").serve(START - (398 - left) * DAY, 398 * DAY)
    street.baseline()
    heard = {}
    for _ in range(10):
        outcome = street.day()
        street.sent()
        if outcome.drafts:
            heard[street.now.date()] = said(outcome)
    assert len(heard) == 2, heard
    first, second = heard.values()
    assert len(first) == 1
    assert len(second) == 2, "what waited goes together"
    assert max(heard) - min(heard) == timedelta(days=7)


def test_a_message_has_all_sites_of_the_client(street: Street) -> None:
    street.client("1")
    near, far = street.site("near.example", "1"), street.site("far.example", "1")
    far.serve(START - (398 - 20) * DAY, 398 * DAY)
    near.serve(START - (398 - 8) * DAY, 398 * DAY)
    street.baseline()
    with street.database.write(street.now) as tx:
        matters.release(
            tx, next(r["cause"] for r in matters.listing(tx.conn, held=True) if r["endpoint_id"] == far.id), 10, "Ada"
        )
    street.notify()
    street.sent()
    outcome = street.day()
    ((_, message),) = outcome.drafts
    assert said(outcome) == [(near.key, "7", "owner")]
    assert "Still open from before" in message.text
    assert "far.example" in message.text


# -- faults --------------------------------------------------------------------------------------------------------------------


def test_a_fault_of_the_clients_is_told_and_ends_with_one_thank_you(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults["mixed-content"] = fault(
        "mixed-content", "medium", url="https://shop.example/", example="http://x.example/a.js", urls=["http://x.example/a.js"]
    )
    outcome = street.day()
    key = site.fault_key("mixed-content")
    assert said(outcome) == [(key, "+0", "owner")]
    assert isinstance(outcome.drafts[0][0].outcome, YouAct)
    street.sent()
    assert said(street.day()) == []
    site.faults.clear()
    outcome = street.day()
    assert said(outcome) == [(key, "+0", "resolved")]
    assert isinstance(outcome.drafts[0][0].outcome, Resolved)
    assert "It is done" in outcome.drafts[0][1].text
    street.sent()
    assert [x for _ in range(5) for x in said(street.day())] == []


def test_a_fault_that_flaps_is_not_told_again_and_again(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    heard = []
    for i in range(12):
        site.faults = {"not-tls": fault("not-tls", "critical", reason="http")} if i % 2 == 0 else {}
        heard += said(street.day())
        street.sent()
    assert [(label, step) for _, label, step in heard] == [("+0", "owner"), ("+0", "resolved")]


def test_what_goes_away_with_another_fault_is_folded(street: Street) -> None:
    street.client("1", hosts="client")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {c: fault(c, "critical") for c in ("default-certificate", "name-mismatch")}
    outcome = street.day()
    assert [k for k, _, _ in said(outcome)] == [site.fault_key("default-certificate")]
    assert reasons(outcome, street, site.fault_key("name-mismatch")) == [
        f"suppress: it goes away with {site.fault_key('default-certificate')}"
    ]


def test_we_are_fixing_it_needs_a_name_a_date_and_a_fault_that_visitors_see(street: Street) -> None:
    street.staff()
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {
        "not-tls": fault("not-tls", "critical", "provider"),
        "redirect-missing": fault("redirect-missing", "medium", "provider"),
    }
    outcome = street.day()
    assert said(outcome) == [], "nobody has taken it"
    assert any("New and ours" in m.text and "not-tls" in m.text for _, m in outcome.staff), "those on call hear of it at once"
    with street.database.write(street.now) as tx:
        for code in site.faults:
            findings.accept(
                tx, code, frozenset(site.faults), street.now + 2 * DAY, "on it", domain_id=site.domain_id, kind="take", by="Ada"
            )
    outcome = street.notify()
    ((draft, message),) = outcome.drafts
    assert [i.subject.code for i in draft.items] == ["not-tls"], "visitors do not notice the other"
    assert isinstance(draft.outcome, WeAct)
    assert "We are fixing it: Ada has it done by 5 March 2026." in message.text
    street.sent()
    assert said(street.notify()) == [], "once for a date"
    outcome = street.day(3)
    assert any("not-tls was taken by Ada until 2026-03-05" in m.text for _, m in outcome.staff), "a broken promise is staff's"


def test_escalated_promises_the_next_word_and_keeps_it(street: Street) -> None:
    street.client("1", hosts=None, buys=None, renews=None)
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    assert said(street.day()) == [], "only after a second run"
    outcome = street.day()
    ((draft, _),) = outcome.drafts
    assert draft.outcome == Escalated(date(2026, 3, 6))
    street.sent()
    assert said(street.day()) == [], "Thursday: the word was promised for Friday"
    outcome = street.day()
    assert len(said(outcome)) == 1, "the next word on the day"


def test_undetermined_results_go_to_nobody_but_staff(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {
        "connection-timeout": fault("connection-timeout", "undetermined", "staff"),
        "scanner-error": fault("scanner-error", "undetermined", "staff"),
    }
    assert [x for _ in range(4) for x in said(street.day())] == []


# -- too much ------------------------------------------------------------------------------------------------------------------


def test_a_first_scan_of_9000_faults_sends_nothing_and_is_released_by_cause(street: Street) -> None:
    street.staff()
    with street.database.write(street.now) as tx:
        for n in range(300):
            clients.add(tx, {"number": str(n), "name": f"Client {n}", "renews": "client", "buys": "client", "hosts": "us"})
            contacts.add(tx, str(n), {"name": f"Owner of {n}"}, (f"email:owner@client{n}.example",))
    _many(street, 300, 30)
    street.scan()
    outcome = street.notify()
    assert outcome.baseline
    assert (len(outcome.drafts), outcome.held) == (0, 9000)
    assert any("first sight of the inventory" in m.text for _, m in outcome.staff)
    for _ in range(3):
        assert said(street.day()) == [], "nothing goes out by itself"
    with street.database.write(street.now) as tx:
        causes = {m["cause"] for m in matters.listing(tx.conn, held=True)}
        assert causes == {"client 0 mixed-content"} | {f"client {n} mixed-content" for n in range(1, 300)}
        for n in range(50):
            matters.release(tx, f"client {n} mixed-content", 20, "Ada")
    outcome = street.notify()
    assert {d.person.name for d, _ in outcome.drafts} == {f"Owner of {n}" for n in range(50)}
    assert all(len(d.items) == 30 for d, _ in outcome.drafts), "one message with all sites"
    street.sent()
    # What is new is spoken of.
    site = street.sites["s0.client200.example"]
    site.faults["not-tls"] = fault("not-tls", "critical")
    assert said(street.day()) == [(site.fault_key("not-tls"), "+0", "owner")]


def _many(street: Street, count: int, each: int) -> None:
    from sqlalchemy import insert, select

    from inventory.tables import client, domain, endpoint
    from tests.notifiers.street import Site

    with street.database.write(street.now) as tx:
        ids = {number: row_id for row_id, number in tx.conn.execute(select(client.c.id, client.c.number))}
        rows = [
            {"name": f"s{k}.client{n}.example", "client_id": ids[str(n)], "purpose": "site", "created_at": tx.at}
            for n in range(count)
            for k in range(each)
        ]
        tx.conn.execute(insert(domain), rows)
        known = list(tx.conn.execute(select(domain.c.id, domain.c.name, domain.c.client_id)))
        tx.conn.execute(
            insert(endpoint),
            [{"domain_id": i, "host": h, "port": 443, "protocol": "https", "created_at": tx.at} for i, h, _ in known],
        )
        places = {d: (e, h) for e, d, h in tx.conn.execute(select(endpoint.c.id, endpoint.c.domain_id, endpoint.c.host))}
    for domain_id, host, client_id in known:
        site = street.sites[host] = Site(places[domain_id][0], host, client_id, domain_id)
        site.faults["mixed-content"] = fault(
            "mixed-content", "medium", url=f"https://{host}/", example="http://x/", urls=["http://x/"]
        )


def test_released_to_so_many_clients_a_day(street: Street) -> None:
    for n in range(10):
        street.client(str(n))
        street.site(f"a{n}.example", str(n))
    with street.database.write(street.now) as tx:
        from inventory.store import servers

        servers.add(tx, {"name": "web1", "kind": "web"})
    for site in street.sites.values():
        site.faults["redirect-missing"] = fault("redirect-missing", "medium")
        with street.database.write(street.now) as tx:
            domains.edit(tx, site.host, {"server": "web1"})
    street.baseline()
    with street.database.write(street.now) as tx:
        matters.release(tx, "server web1 redirect-missing", 4, "Ada")
    counts = []
    for _ in range(5):
        counts.append(len(street.notify().drafts))
        counts.append(len(street.notify().drafts))
        street.sent()
        street.day(1)
        street.pass_(0)
    assert counts[:2] == [4, 0]
    with street.database.read() as conn:
        assert matters.listing(conn, held=True) == []


def test_every_cause_with_one_finding_can_be_released_together(street: Street) -> None:
    for n in range(6):
        street.client(str(n))
        street.site(f"a{n}.example", str(n)).serve(START - 392 * DAY, 398 * DAY)
    street.baseline()
    with street.database.write(street.now) as tx:
        assert len({m["cause"] for m in matters.listing(tx.conn, held=True)}) == 6
        matters.release(tx, "* certificate-expiring", 4, "Ada")
    assert [len(street.notify().drafts), len(street.notify().drafts)] == [4, 0]
    street.sent()
    assert len(street.day().drafts) == 2


def test_one_run_that_changes_too_much_is_held(street: Street) -> None:
    street.staff()
    for n in range(40):
        street.client(str(n))
        street.site(f"a{n}.example", str(n))
    street.baseline()
    for n in range(6):
        street.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")
    outcome = street.day()
    assert said(outcome) == []
    assert outcome.held == 6
    assert any("changed 6 of 40 clients at once" in m.text for _, m in outcome.staff)
    assert said(street.day()) == [], "and stays so until somebody looks"
    with street.database.write(street.now) as tx:
        for cause in {m["cause"] for m in matters.listing(tx.conn, held=True)}:
            matters.release(tx, cause, 100, "Ada")
    assert len(said(street.notify())) == 6


def test_a_suspect_run_is_silent_towards_clients_and_loud_towards_staff(street: Street) -> None:
    street.staff()
    key = year(street, left=8)
    street.pass_(1)
    street.scan("suspect", reason="the control target failed")
    outcome = street.notify()
    assert said(outcome) == []
    assert "hold: the last run (number 2) is suspect" in reasons(outcome, street, key)[0]
    assert any("Client messages are held" in m.text for _, m in outcome.staff)
    assert said(street.day()) == [(key, "7", "owner")]


def test_a_clock_that_was_set_back_holds_everything(street: Street) -> None:
    street.staff()
    key = year(street, left=9)
    street.day()
    street.pass_(-1)
    outcome = street.notify()
    assert said(outcome) == []
    assert "there are rows of" in outcome.hold
    assert not any(r.startswith("send") for r in reasons(outcome, street, key))
    assert any("the clock says" in m.text for _, m in outcome.staff)


def test_more_clients_at_once_than_usual_needs_their_number(tmp_path: Path) -> None:
    street = Street(open_database(str(tmp_path / "c.db"), actor="t"), confirm_above=3)
    for n in range(5):
        street.client(str(n))
        street.site(f"a{n}.example", str(n)).serve(START - 389 * DAY, 398 * DAY)
    street.baseline()
    outcome = street.day(2)
    assert (outcome.unconfirmed, len(outcome.drafts)) == (5, 0)
    street.expected = 4
    assert street.notify().unconfirmed == 5
    street.expected = 5
    assert len(street.notify().drafts) == 5


# -- the transaction ------------------------------------------------------------------------------------------------------------


def test_a_dry_run_keeps_nothing(street: Street) -> None:
    key = year(street, left=8)
    street.pass_(1)
    street.scan()
    with street.database.read() as conn:
        before = (outbox.depth(conn), len(matters.by_key(conn)))
    outcome = street.notify(dry_run=True)
    assert said(outcome) == [(key, "7", "owner")]
    assert outcome.drafts[0][1].reference.startswith("CM-")
    with street.database.read() as conn:
        assert (outbox.depth(conn), len(matters.by_key(conn))) == before
    assert said(street.notify()) == [(key, "7", "owner")]


def test_the_reference_stays_the_same_over_all_messages(street: Street) -> None:
    year(street, left=31)
    seen = set()
    for _ in range(40):
        outcome = street.day()
        street.sent()
        seen |= {m.reference for _, m in outcome.drafts}
    assert len(seen) == 1


def test_the_same_decisions_on_postgresql_and_sqlite(database: Database) -> None:
    street = Street(database)
    street.staff()
    key = year(street, left=31)
    heard = []
    for _ in range(35):
        heard += [label for k, label, _ in said(street.day()) if k == key]
        street.sent()
    assert heard == ["30", "14", "7", "3", "1", "0", "+1"]
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    assert [step for _, _, step in said(street.day())] == ["resolved"]


def test_a_domain_that_changed_hands_is_told_to_the_new_owner_alone(street: Street) -> None:
    key = year(street, left=31)
    street.day()
    street.sent()
    street.client("2")
    with street.database.write(street.now) as tx:
        domains.edit(tx, "shop.example", {"client": "2"})
    outcome = street.day(16)
    assert [(d.person.name, i.label) for d, _ in outcome.drafts for i in d.items] == [("Owner of 2", "14")]
    street.sent()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    outcome = street.day()
    assert [d.person.name for d, _ in outcome.drafts] == ["Owner of 2"], "the old one is told nothing more"
    assert key


def test_what_waited_too_long_is_decided_anew(street: Street) -> None:
    """Queued, and the mail server is dead for a day; meanwhile it was renewed."""
    year(street, left=8)
    assert len(said(street.day())) == 1
    street.pass_(1)
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    outcome = street.notify()
    assert said(outcome) == []
    with street.database.read() as conn:
        rows = outbox.listing(conn, states=("dead",))
    assert [r["error"] for r in rows if r["client_id"]] == []


def test_every_name_in_a_message_is_made_harmless(street: Street) -> None:
    """HTML and template syntax in names, line breaks in every field."""
    with street.database.write(street.now) as tx:
        clients.add(tx, {"number": "1", "name": "<b>{{ 7*7 }}</b>", "renews": "client", "account_manager": "{% raise %}<script>"})
        contacts.add(tx, "1", {"name": "<img src=x onerror=alert(1)> {{ m }}"}, ("email:a@b.example",))
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults["mixed-content"] = fault(
        "mixed-content",
        "medium",
        url="https://x/\r\nBcc: all@example.com",
        example="<script>alert(1)</script>",
        urls=["{{ config }}"],
    )
    ((_, message),) = street.day().drafts
    assert "<script" not in message.html
    assert "<img" not in message.html
    assert "{{ m }}" in message.text
    assert "\n" not in message.subject
    assert "\r" not in message.text
    assert "49" not in message.text.replace(message.reference, "")


def test_one_run_decides_at_a_time(street: Street) -> None:
    from inventory.errors import Busy
    from inventory.store import jobs

    year(street, left=8)
    street.pass_(1)
    street.scan()
    with jobs.alone(street.database, "notify"), pytest.raises(Busy, match="notify is running"):
        street.notify()
    assert len(street.notify().drafts) == 1


def test_staff_who_are_away_have_their_deputy(street: Street) -> None:
    street.staff("Bea", "email:bea@provider.example")
    street.staff("Ada", "email:ada@provider.example", fallback="Bea", away_until=START + 10 * DAY)
    people_of = {p for p, _ in street.day().staff}
    with street.database.read() as conn:
        ids = {c["name"]: c["id"] for c in contacts.listing(conn)}
    assert people_of == {ids["Bea"]}
    street.pass_(12)
    assert {p for p, _ in street.notify().staff} == {ids["Ada"], ids["Bea"]}


def test_an_owner_who_is_away_has_a_fallback(street: Street) -> None:
    street.client("1")
    with street.database.write(street.now) as tx:
        contacts.add(tx, "1", {"name": "Deputy", "role": "billing"}, ("email:deputy@client1.example",))
        contacts.edit(tx, "Owner of 1", {"away_until": START + 20 * DAY})
    year(street, left=8)
    outcome = street.day()
    assert [(d.person.name, i.step) for d, _ in outcome.drafts for i in d.items] == [("Deputy", "fallback")]


def test_a_deadline_of_ones_own_is_told_with_the_fault_that_it_is_about(street: Street) -> None:
    from certmgr.compliance.rules import RULES
    from inventory.store import deadlines

    street.client("1")
    site = street.site("shop.example", "1")
    with street.database.write(street.now) as tx:
        given = {
            "at": START + 31 * DAY, "rule": "opens-over-https", "title": "All sites on HTTPS", "text": "Then HTTP is off.", "purchase_days": 7,
            "validation_days": 7, "installation_days": 7,
        }  # fmt: skip
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    street.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    heard = []
    for _ in range(28):
        outcome = street.day()
        street.sent()
        heard += said(outcome)
    key = f"deadline:{site.domain_id}:https:{site.client_id}"
    assert [label for k, label, _ in heard if k == key] == ["30", "14", "7", "3"]
    assert {k for k, _, _ in heard} == {key}, "and the fault is not told beside it"
    assert reasons(outcome, street, site.fault_key("https-missing"))[0] == f"suppress: it goes away with {key}"


def test_what_was_held_and_is_gone_is_no_longer_held(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    site.faults["mixed-content"] = fault("mixed-content", "medium")
    street.baseline()
    site.faults.clear()
    assert said(street.day()) == []
    with street.database.read() as conn:
        assert matters.listing(conn, held=True) == []


def test_done_is_said_although_it_waited_too_long(street: Street) -> None:
    """The mail server was dead for a day when the thank-you was queued."""
    year(street, left=8)
    street.day()
    street.sent()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    assert [step for _, _, step in said(street.day())] == ["resolved"]
    assert [step for _, _, step in said(street.day())] == ["resolved"], "decided anew"
    street.sent()
    assert said(street.day()) == []


def test_done_is_said_only_when_every_address_is(street: Street) -> None:
    year(street, left=8)
    street.day()
    street.sent()
    site = street.sites["shop.example"]
    site.serve(street.now, 398 * DAY)
    street.pass_(1)
    street.scan()
    site.leaves["192.0.2.2"] = site.serve(START - 390 * DAY, 398 * DAY, ("192.0.2.9",), keep=True)
    street.pass_(0.1)
    old = next(iter(matters.by_key(street.database.engine.connect(), open_only=True).values()))["round"]
    from tests.notifiers.street import Leaf

    site.leaves["192.0.2.2"] = Leaf(old, START, START + DAY)
    assert said(street.notify()) == []
    del site.leaves["192.0.2.2"], site.leaves["192.0.2.9"]
    assert [step for _, _, step in said(street.notify())] == ["resolved"]


def test_more_clients_than_usual_does_not_lose_a_thank_you(tmp_path: Path) -> None:
    street = Street(open_database(str(tmp_path / "c.db"), actor="t"), confirm_above=3)
    for n in range(5):
        street.client(str(n))
        street.site(f"a{n}.example", str(n)).serve(START - 389 * DAY, 398 * DAY)
    street.baseline()
    street.expected = 5
    assert len(street.day(2).drafts) == 5
    street.sent()
    street.expected = None
    for site in street.sites.values():
        site.serve(street.now, 398 * DAY)
    assert street.day().unconfirmed == 5
    street.expected = 5
    assert {step for _, _, step in said(street.notify())} == {"resolved"}


def test_those_on_call_hear_of_a_cause_once(street: Street) -> None:
    street.staff()
    street.client("1", hosts="us")
    sites = [street.site(f"a{n}.example", "1") for n in range(3)]
    with street.database.write(street.now) as tx:
        from inventory.store import servers

        servers.add(tx, {"name": "web1", "kind": "web"})
        for site in sites:
            domains.edit(tx, site.host, {"server": "web1"})
    street.baseline()
    heard = []
    for n in range(4):
        if n < 2:
            sites[n].faults["not-tls"] = fault("not-tls", "critical", "provider")
        heard.append([m.text.strip().splitlines()[0] for _, m in street.day().staff if m.reference == "alarm"])
        street.notify()
        street.sent()
    assert heard[0] == ["New and ours: server web1 not-tls, 1 endpoint(s), a0.example:443"]
    assert heard[1] == ["New and ours: server web1 not-tls, 2 endpoint(s), a0.example:443"], "it grew"
    assert heard[2:] == [[], []]


def test_a_deadline_that_is_met_is_thanked_for(street: Street) -> None:
    from certmgr.compliance.rules import RULES
    from inventory.store import deadlines

    street.client("1")
    site = street.site("shop.example", "1")
    with street.database.write(street.now) as tx:
        given = {
            "at": START + 31 * DAY, "rule": "valid-certificate", "title": "All sites on HTTPS", "text": None, "purchase_days": 7, "validation_days": 7,
            "installation_days": 7,
        }  # fmt: skip
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    street.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    street.day()
    street.sent()
    site.faults.clear()
    site.serve(street.now, 398 * DAY)
    outcome = street.day()
    assert [step for _, _, step in said(outcome)] == ["resolved"]
    assert "shop.example now meets: All sites on HTTPS." in outcome.drafts[0][1].text


def test_a_deadline_is_in_the_message_with_its_words(street: Street) -> None:
    from certmgr.compliance.rules import RULES
    from inventory.store import deadlines

    street.client("1")
    site = street.site("shop.example", "1")
    with street.database.write(street.now) as tx:
        given = {
            "at": START + 31 * DAY, "rule": "opens-over-https", "title": "All sites on HTTPS", "text": "Then HTTP is off.", "purchase_days": 7,
            "validation_days": 7, "installation_days": 7,
        }  # fmt: skip
        deadlines.add(tx, "https", given, tuple(RULES), for_clients=(), tags=())
    street.baseline()
    site.faults["https-missing"] = fault("https-missing", "high")
    ((_, message),) = street.day().drafts
    assert "shop.example does not yet meet what holds from 2 April 2026: All sites on HTTPS. Then HTTP is off." in message.text


def test_too_many_ends_at_once_are_held_too(street: Street) -> None:
    """A run that closes everything is as suspect as one that opens everything: nobody is thanked for it."""
    for n in range(20):
        street.client(str(n))
        street.site(f"a{n}.example", str(n))
    street.baseline()
    for n in range(4):
        street.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")
    assert len(street.day().drafts) == 4
    street.sent()
    for n in range(4, 8):
        street.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")
    assert len(street.day().drafts) == 4
    street.sent()
    for site in street.sites.values():
        site.faults.clear()
    outcome = street.day()
    assert (said(outcome), outcome.held) == ([], 8)
    with street.database.write(street.now) as tx:
        matters.release(tx, "* not-tls", 100, "Ada")
    assert {step for _, _, step in said(street.notify())} == {"resolved"}


def test_a_restored_queue_is_unknown(street: Street, tmp_path: Path) -> None:
    from inventory import upkeep

    year(street, left=8)
    street.day()
    upkeep.backup(street.database.engine, tmp_path / "backup.db")
    street.sent()
    street.database.close()
    upkeep.restore(street.database.engine, tmp_path / "backup.db")
    with street.database.read() as conn:
        assert outbox.depth(conn) == {"unknown": 1}
    assert said(street.notify()) == [], "it may have been sent"
