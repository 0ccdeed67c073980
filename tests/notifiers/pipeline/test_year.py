"""The whole pipeline, from scans to a real mail server, over a year in a soak.

Every message that the server received is counted and checked against the rules.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from inventory.db.database import Database
from inventory.models import Notice, SentItem, Ticket
from inventory.records import ListedNotice
from inventory.store import notices, releases, tickets
from notifiers.channels import Channel
from notifiers.delivery import DeliveryWorker
from notifiers.pipeline.send_address import address_of
from notifiers.pipeline.thresholds import rank_of
from notifiers.working_days import is_working_day
from tests.campaign import PATIENCE, Campaign, size
from tests.notifiers.sites import DAY, Site, SiteSimulation, fault
from tests.servers.mail import MailServer

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
# Enough for a week without a job, a suspect run, and several renewals of each habit.
DAYS = size(110, 365)


class Life:
    """How a site is renewed over time.

    Attributes:
        habit: automatic (with a third of the lifetime left), prompt (after the second notice), or
            late (four days after the end).
    """

    def __init__(self, site: Site, habit: str, life: int) -> None:
        self.site, self.habit, self.life = site, habit, life
        self.renewals: list[datetime] = []

    def advance(self, now: datetime, notices: Mapping[tuple[str, str], int]) -> None:
        """Renew if it is time to. ``notices``: how many each certificate of each site had."""
        (leaf,) = set(self.site.leaves.values())
        left = (leaf.not_after - now) / DAY
        due = {
            "automatic": left <= self.life / 3,
            "prompt": notices[self.site.key, leaf.sha256] >= 2 and left <= 14,
            "late": left <= -4,
        }
        if due[self.habit]:
            self.site.serve(now, self.life * DAY)
            self.renewals.append(now)


@pytest.mark.longest
@pytest.mark.campaign
@pytest.mark.parametrize("seed", [11, 12, 13][: size(1, 3)])
def test_year_of_scans_sends_each_message_once_and_keeps_every_rule(
    simulation_database: Database, server: MailServer, campaign: Campaign, seed: int
) -> None:
    count = campaign.size("domains", 15, 500)
    campaign.report("days", DAYS)
    chance = random.Random(seed)
    simulation = SiteSimulation(simulation_database, START, country="DE")
    simulation.staff()
    lives = _add_sites(simulation, chance, count)
    simulation.baseline()
    _release_all(simulation)
    channel = Channel("mail", server.url, timeout=PATIENCE, connect_timeout=PATIENCE)
    address = address_of(simulation.database, "mail")
    worker = DeliveryWorker(
        simulation.database, {"mail": channel}, address, lambda: simulation.now, rate=0
    )
    notices: Counter[tuple[str, str]] = Counter()
    flapping = lives[7].site
    for day in range(DAYS):
        simulation.advance(1)
        missed = 60 <= day < 67  # no job runs for a week
        if day == 90:
            simulation.scan("suspect", reason="a control target failed")
        elif not missed:
            simulation.scan()
        if not missed:
            drafts = [draft for draft, _ in simulation.notify().drafts]
            items = (i for draft in drafts for i in draft.items if i.step != "resolved")
            notices.update(i.topic.mark for i in items)
            worker.run()
        for one in lives:
            one.advance(simulation.now, notices)
        if chance.random() < count / 500:
            _toggle_fault(chance.choice(lives).site)
        found = {"not-tls": fault("not-tls", "critical", reason="http")}
        flapping.faults = found if day % 2 else {}
    _check(simulation, lives, server.received, campaign)


def _add_sites(simulation: SiteSimulation, chance: random.Random, count: int) -> list[Life]:
    """Add ``count`` sites, five per client."""
    clients = count // 5
    for n in range(clients):
        simulation.client(str(n))
    lives = []
    for n in range(count):
        habit = chance.choice(["automatic"] * 5 + ["prompt"] * 4 + ["late"])
        life = 90 if habit == "automatic" else chance.choice([90, 198, 398])
        number = n % clients
        given = {"renews": "cdn"} if habit == "automatic" else {}
        site = simulation.site(f"site{n}.client{number}.example", str(number), **given)
        site.serve(START - chance.randrange(0, int(life * 0.6)) * DAY, life * DAY)
        lives.append(Life(site, habit, life))
    return lives


def _toggle_fault(site: Site) -> None:
    code = "mixed-content"
    found = fault(code, "high", url="https://x/", example="http://x/", urls=["http://x/"])
    site.faults = {} if site.faults else {code: found}


def _release_all(simulation: SiteSimulation) -> None:
    with simulation.database.write(simulation.now) as tx:
        for cause in {m.cause for m in tickets.listing(tx.conn, held=True)}:
            releases.add(tx, cause, 1000, "Ada")


def _check(
    simulation: SiteSimulation,
    lives: Sequence[Life],
    received: Sequence[Any],
    campaign: Campaign,
) -> None:
    with simulation.database.read() as conn:
        listed = {r.id: r for r in notices.listing(conn, limit=1_000_000)}
        items = [dict(r) for r in conn.execute(select(SentItem)).mappings()]
        tickets_by_key = {r["key"]: dict(r) for r in conn.execute(select(Ticket)).mappings()}
        query = select(Notice).where(Notice.state == "sent")
        sent = [dict(r) for r in conn.execute(query).mappings()]
    to_clients = [n for n in sent if n["kind"] == "client"]
    staff = [n for n in sent if n["client_id"] is None]
    # Every message in the state sent arrived, and nothing else did.
    assert len(received) == len(sent)
    assert not {n.state for n in listed.values()} - {"sent", "dead"}
    messages = {(n["reference"], n["subject"], n["sent_at"], n["sent_to"]) for n in sent}
    assert len(messages) == len(sent), "nothing twice"
    # One digest on every day on which notices ran, and never two.
    digests = Counter(_at(n).date() for n in staff if n["kind"] == "digest")
    assert max(digests.values()) == 1
    assert len(digests) >= DAYS - 9
    _check_times(to_clients)
    _check_items(items, listed, lives)
    _check_isolation(to_clients, items, tickets_by_key, lives)
    outcomes = Counter(n["outcome"] for n in to_clients)
    campaign.report("messages to clients", len(to_clients))
    campaign.report("renewals", sum(len(x.renewals) for x in lives))
    alarms = Counter(re.sub(r"\d+", "N", str(n["subject"])) for n in staff if n["kind"] == "alarm")
    assert sum(alarms.values()) < 10, f"alarms only for what cannot wait: {alarms}"
    assert outcomes["you-act"] > 0.6 * len(lives)
    assert outcomes["resolved"] > 0.1 * len(lives)


def _at(row: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(int(str(row["created_at"])), UTC)


def _check_times(to_clients: Sequence[Mapping[str, Any]]) -> None:
    """Messages go out in office hours, and at most one per run and contact."""
    by_contact: dict[object, list[datetime]] = defaultdict(list)
    for row in to_clients:
        at = _at(row)
        assert is_working_day(at.date(), "DE"), at
        assert 8 <= at.hour < 18, at
        by_contact[row["contact_id"]].append(at)
    for times in by_contact.values():
        assert len({at.date() for at in times}) == len(times), "one run per day"


def _check_items(
    items: Sequence[Mapping[str, Any]],
    notices: Mapping[int, ListedNotice],
    lives: Sequence[Life],
) -> None:
    columns = ("contact_id", "subject", "step", "threshold", "round")
    assert max(Counter(tuple(i[c] for c in columns) for i in items).values()) == 1
    by_round: dict[tuple[object, object], list[tuple[int, str, str]]] = defaultdict(list)
    for item in items:
        if str(item["subject"]).startswith("cover:"):
            at = int(str(notices[int(str(item["notice_id"]))].created_at))
            entry = (at, str(item["step"]), str(item["threshold"]))
            by_round[(item["subject"], item["round"])].append(entry)
    by_key = {x.site.key: x for x in lives}
    for (subject, _), found in by_round.items():
        labels = [label for _, step, label in sorted(found) if step != "resolved"]
        ranks = [rank_of(label) for label in labels]
        assert ranks == sorted(set(ranks)), f"each threshold once, more and more urgent: {found}"
        assert sum(step == "resolved" for _, step, _ in found) <= 1, "thanked once"
        assert by_key[str(subject)].habit != "automatic", f"renewed in time: {found}"
    for life in lives:
        if life.habit == "late":
            rounds = [found for (key, _), found in by_round.items() if key == life.site.key]
            assert all(len(found) >= 3 for found in rounds[:-1]), "notified again and again"
            assert len(rounds) >= len(life.renewals)


def _check_isolation(
    to_clients: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
    tickets_by_key: Mapping[str, Mapping[str, Any]],
    lives: Sequence[Life],
) -> None:
    """A message names only sites of its client."""
    for row in to_clients:
        content = f"{row['subject']} {row['text']} {row['html']}"
        named = set(re.findall(r"client(\d+)\.example", content))
        number = re.search(r"owner(\d+)@", str(row["sent_to"]))
        assert number is not None
        assert named <= {number[1]}, row["subject"]
    owners = {x.site.key: x.site.client_id for x in lives}
    assert all(tickets_by_key[k]["client_id"] == owners[k] for k in tickets_by_key if k in owners)
    assert items
