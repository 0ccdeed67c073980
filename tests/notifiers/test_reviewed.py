"""What two readers found: floods that come twice, releases that never end, thanks for what is worse, and silence by accident."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from inventory.store import contacts, erase, findings, matters, outbox
from notifiers.channels import Delivery, Fate, Outgoing
from notifiers.days import Freeze
from notifiers.delivery import Worker
from notifiers.job import address_of
from notifiers.plan import Policy
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, START, Leaf, Street, fault, reasons, said, year


def crowd(street: Street, count: int = 40) -> None:
    for n in range(count):
        street.client(str(n))
        street.site(f"a{n}.example", str(n))
    street.baseline()


def break_(street: Street, count: int) -> None:
    for n in range(count):
        street.sites[f"a{n}.example"].faults["not-tls"] = fault("not-tls", "critical")


def test_a_broken_run_is_held_the_second_time_too(street: Street) -> None:
    crowd(street)
    for _ in range(3):
        break_(street, 15)
        assert said(street.day()) == []
        for site in street.sites.values():
            site.faults.clear()
        assert said(street.day()) == []


def test_baseline_faults_that_come_back_together_are_held(street: Street) -> None:
    for n in range(20):
        street.client(str(n))
        street.site(f"a{n}.example", str(n))
    break_(street, 20)
    street.baseline()
    for site in street.sites.values():
        site.faults.clear()
    assert said(street.day()) == []
    break_(street, 20)
    assert said(street.day()) == []


def test_an_old_release_lets_nothing_new_go(street: Street) -> None:
    crowd(street)
    with street.database.write(street.now) as tx:
        matters.release(tx, "* not-tls", 20, "Ada")
    street.day()
    break_(street, 15)
    street.pass_(1)
    street.scan()
    assert said(street.notify()) == []
    street.pass_(0, 1)
    assert said(street.notify()) == [], "that release ended when nothing was left of it"


def test_thanks_reach_everybody_who_was_told(street: Street) -> None:
    """Owner and fallback in zones that are never open at once."""
    street.client("1")
    with street.database.write(street.now) as tx:
        contacts.add(
            tx, "1", {"name": "Far", "role": "billing", "time_zone": "America/Los_Angeles"}, ("email:far@client1.example",)
        )
    year(street, left=31)
    for _ in range(60):
        street.pass_(0, 5)
        street.scan()
        street.notify()
        street.sent()
    street.sites["shop.example"].serve(street.now, 398 * DAY)
    thanked = []
    for _ in range(20):
        street.pass_(0, 5)
        street.scan()
        thanked += [d.person.name for d, _ in street.notify().drafts for i in d.items if i.step == "resolved"]
        street.sent()
    assert sorted(thanked) == ["Far", "Owner of 1"]


def test_what_was_mended_while_it_waited_is_not_sent(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults["mixed-content"] = fault("mixed-content", "high")
    assert len(street.day().drafts) == 1
    site.faults.clear()
    street.pass_(0, 1)
    street.scan()
    street.notify()
    with street.database.read() as conn:
        assert [r for r in outbox.listing(conn, states=("queued",)) if r["client_id"]] == []


class Taking:
    """A channel that takes everything."""

    name = "mail"

    def __init__(self) -> None:
        self.got: list[Outgoing] = []

    def send(self, message: Outgoing) -> Delivery:
        self.got.append(message)
        return Delivery(Fate.SENT)


def test_the_worker_wakes_nobody(street: Street) -> None:
    year(street, left=8)
    assert len(street.day().drafts) == 1
    night = street.now.replace(hour=23)
    channel = Taking()
    address = address_of(street.database, "mail", street.rules)
    assert Worker(street.database, {"mail": channel}, address, lambda: night, rate=0).run().later == 1
    assert channel.got == []
    morning = (street.now + DAY).replace(hour=8, minute=30)
    assert Worker(street.database, {"mail": channel}, address, lambda: morning, rate=0).run().sent == 1


def test_a_long_freeze_is_seen_early_and_speaks_the_truth(tmp_path: Path) -> None:
    start = datetime(2026, 7, 1, 10, tzinfo=UTC)
    policy = Policy(freezes=(Freeze(date(2026, 10, 15), date(2026, 12, 31)),))
    street = Street(open_sqlite(tmp_path / "f.db", "t"), start, policy)
    key = year(street, left=(datetime(2026, 12, 25, 10, tzinfo=UTC) - start) / DAY)
    heard: dict[str, date] = {}
    texts = []
    for _ in range(190):
        outcome = street.day()
        street.sent()
        for draft, message in outcome.drafts:
            texts.append((street.now, message.text))
            heard |= {i.label: street.now.date() for i in draft.items if i.subject.key == key}
    assert heard["60"] == date(2026, 8, 17), "counted from the day before the freeze (the 16th is a Sunday)"
    assert heard["0"] < date(2026, 10, 20)
    assert heard["+7"] >= date(2027, 1, 1), "after the real end it goes on"
    assert not any("ended" in text for at, text in texts if at.date() < date(2026, 12, 25))


def test_nobody_is_thanked_for_a_worse_certificate(street: Street) -> None:
    year(street, left=8)
    street.day()
    street.sent()
    site = street.sites["shop.example"]
    site.leaves = {"192.0.2.1": Leaf("ab" * 32, START - 300 * DAY, street.now + 2 * DAY)}
    assert "resolved" not in [step for _, _, step in said(street.day())]
    site.leaves = {"192.0.2.1": Leaf("cd" * 32, START - 300 * DAY, street.now + 300 * DAY)}
    site.faults["default-certificate"] = fault("default-certificate", "critical", "provider")
    assert "resolved" not in [step for _, _, step in said(street.day())]


def test_what_stands_beside_was_looked_at_too(street: Street) -> None:
    street.client("1")
    a, b = street.site("a.example", "1"), street.site("b.example", "1")
    street.baseline()
    a.serve(START - (398 - 9) * DAY, 398 * DAY)
    street.day(2)
    street.sent()
    b.faults["not-tls"] = fault("not-tls", "critical")
    street.pass_(1)
    street.scan()
    a.serve(street.now, 398 * DAY)
    ((_, message),) = street.notify().drafts
    assert "b.example" in message.text
    assert "a.example" not in message.text, "replaced since the scan"


def test_a_fault_that_comes_and_goes_is_no_daily_message(street: Street) -> None:
    street.staff()
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    heard, staff = [], ""
    for n in range(60):
        site.faults = {"not-tls": fault("not-tls", "critical")} if n % 2 else {}  # on by day, off by night
        street.pass_(0, 12)
        street.scan()
        outcome = street.notify()
        heard += said(outcome)
        staff += "".join(m.text for _, m in outcome.staff)
        street.sent()
    assert len([1 for _, _, step in heard if step == "owner"]) <= 2
    assert "it comes and goes" in staff


def test_a_refusal_that_is_not_about_the_address_is_no_end(street: Street) -> None:
    street.client("1")
    with street.database.write(street.now) as tx:
        contacts.add(tx, "1", {"name": "Deputy", "role": "billing"}, ("email:deputy@client1.example",))
    year(street, left=8)
    street.day()
    with street.database.write(street.now) as tx:
        from sqlalchemy import update

        from inventory.tables import notice

        tx.conn.execute(update(notice).where(notice.c.kind == "client").values(state="failed", attempts=1, smtp_code=554))
    street.pass_(0, 1)
    assert [d.person.name for d, _ in street.notify().drafts] == ["Deputy"], "the owner was not reached"
    street.sent()
    assert [d.person.name for d, _ in street.day().drafts] == ["Owner of 1"], "a day later it is tried again"


def test_an_acknowledgement_breaks_no_promise(street: Street) -> None:
    street.client("1", hosts=None, buys=None, renews=None)
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    street.day()
    assert len(street.day().drafts) == 1
    street.sent()
    with street.database.write(street.now) as tx:
        matters.acknowledge(tx, [m["id"] for m in matters.listing(tx.conn)], "the owner")
    heard = {street.now.date(): said(street.day()) for _ in range(2)}
    assert any(heard.values()), "word on the day that was promised"


def test_a_first_sight_does_not_leak_by_a_second_run(street: Street) -> None:
    street.client("1", hosts=None, buys=None, renews=None)
    site = street.site("shop.example", "1")
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    street.baseline()
    assert [x for _ in range(4) for x in said(street.day())] == []
    with street.database.read() as conn:
        assert len(matters.listing(conn, held=True)) == 1


def test_a_look_at_another_name_is_no_second_sight(street: Street) -> None:
    street.client("1", hosts=None, buys=None, renews=None)
    site = street.site("shop.example", "1")
    other = street.site("other.example", "1")
    street.baseline()
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    street.day()
    site.blind = True
    assert said(street.day()) == []
    assert other.id != site.id


def test_staff_hear_of_what_could_not_be_told(street: Street) -> None:
    street.staff()
    street.client("1")
    site = street.site("shop.example", "1")
    street.baseline()
    site.faults = {"scanner-error": fault("scanner-error", "undetermined", "staff")}
    street.day()
    outcome = street.day()
    assert any("scanner-error: 1 endpoint(s)" in m.text for _, m in outcome.staff)


def test_more_sites_than_a_message_holds_go_with_the_next(street: Street) -> None:
    from notifiers import decide

    street.client("1")
    for n in range(12):
        street.site(f"a{n}.example", "1")
    street.baseline()
    for n in range(12):
        street.sites[f"a{n}.example"].serve(START - 391 * DAY, 398 * DAY)
    before, decide.MAX_ITEMS = decide.MAX_ITEMS, 5
    try:
        counts = []
        for _ in range(3):
            counts.append(len(said(street.day())))
            street.sent()
    finally:
        decide.MAX_ITEMS = before
    assert counts == [5, 5, 2]


def test_a_code_that_is_not_known_silences_nobody(street: Street) -> None:
    street.client("1")
    street.client("2")
    a, b = street.site("a.example", "1"), street.site("b.example", "2")
    street.baseline()
    a.faults["code-of-tomorrow"] = fault("code-of-tomorrow", "critical")
    b.faults["not-tls"] = fault("not-tls", "critical")
    assert {d.person.name for d, _ in street.day().drafts} >= {"Owner of 2"}


def test_erasing_a_client_of_a_reseller_leaves_the_others_and_no_name(street: Street) -> None:
    street.client("50")
    for number in ("51", "52"):
        street.client(number, reseller="50")
        street.site(f"shop{number}.example", number).serve(START - 389 * DAY, 398 * DAY)
    street.baseline()
    assert len(street.day(2).drafts) == 1
    with street.database.write(street.now) as tx:
        erase.erase(tx, "51")
        del street.sites["shop51.example"]
    with street.database.read() as conn:
        assert not any("shop51.example" in r["text"] for r in outbox.listing(conn, ids=range(1, 50)))
    street.pass_(0, 1)
    outcome = street.notify()
    assert [i.subject.target.host for d, _ in outcome.drafts for i in d.items] == ["shop52.example"]


def test_nobody_of_the_staff_is_a_problem_that_is_said(street: Street) -> None:
    from notifiers.report import problems_of

    key = year(street, left=8)
    outcome = street.day()
    assert key
    assert problems_of(outcome, None) == []
    street.sites["shop.example"].faults["not-tls"] = fault("not-tls", "critical", "provider")
    assert "nobody of them can be written to" in problems_of(street.day(), None)[0]


def test_a_taken_fault_of_the_first_sight_waits_for_its_release(street: Street) -> None:
    street.client("1")
    site = street.site("shop.example", "1")
    site.faults = {"not-tls": fault("not-tls", "critical", "provider")}
    street.baseline()
    with street.database.write(street.now) as tx:
        findings.accept(
            tx, "not-tls", frozenset({"not-tls"}), street.now + 5 * DAY, "on it", domain_id=site.domain_id, kind="take", by="Ada"
        )
    outcome = street.day()
    assert said(outcome) == []
    assert "certmgr notice release" in reasons(outcome, street, site.fault_key("not-tls"))[0]
