"""A year of 500 domains on a fast clock: every mail that a real server took is counted, and judged against the rules."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from certmgr.demo.authority import Authority
from inventory.store import matters, outbox
from inventory.tables import matter, notice, notice_item
from notifiers.channels import Channel
from notifiers.days import is_working_day
from notifiers.delivery import Worker
from notifiers.job import address_of
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, Site, Street, fault
from tests.servers.mail import mail_server

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
CLIENTS, SITES, DAYS = 100, 500, 365


class Life:
    """What becomes of a site. ``habit``: robot (renews a third before the end), prompt (after the second notice), late (a few days after the end)."""

    def __init__(self, site: Site, habit: str, life: int) -> None:
        self.site, self.habit, self.life = site, habit, life
        self.renewals: list[datetime] = []

    def lives(self, now: datetime, heard: int) -> None:
        (leaf,) = set(self.site.leaves.values())
        left = (leaf.not_after - now) / DAY
        due = {"robot": left <= self.life / 3, "prompt": heard >= 2 and left <= 14, "late": left <= -4}[self.habit]
        if due:
            self.site.serve(now, self.life * DAY)
            self.renewals.append(now)


def test_a_year_of_500_domains(root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trusted.pem").write_bytes(root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    chance = random.Random(11)
    street = Street(open_sqlite(tmp_path / "year.db"), START, country="DE")
    street.staff()
    lives = _people(street, chance)
    street.baseline()
    _release_all(street)
    with mail_server(root, tmp_path / "mail") as server:
        worker = Worker(
            street.database,
            {"mail": Channel("mail", server.url)},
            address_of(street.database, "mail"),
            lambda: street.now,
            rate=0,
        )
        flapping = lives[7].site
        for day in range(DAYS):
            street.pass_(1)
            missed = 150 <= day < 157  # cron was dead for a week
            if day == 200:
                street.scan("suspect", reason="a control target failed")
            elif not missed:
                street.scan()
            if not missed:
                street.notify()
                worker.run()
            heard = _heard(street)
            for one in lives:
                one.lives(street.now, heard[one.site.key])
            for one in chance.sample(lives, 1):
                code = "mixed-content"
                one.site.faults = (
                    {}
                    if one.site.faults
                    else {code: fault(code, "high", url="https://x/", example="http://x/", urls=["http://x/"])}
                )
            flapping.faults = {"not-tls": fault("not-tls", "critical", reason="http")} if day % 2 else {}
        _judge(street, lives, server.received)


def _people(street: Street, chance: random.Random) -> list[Life]:
    for n in range(CLIENTS):
        street.client(str(n))
    lives = []
    for n in range(SITES):
        habit = chance.choice(["robot"] * 5 + ["prompt"] * 4 + ["late"])
        life = 90 if habit == "robot" else chance.choice([90, 198, 398])
        site = street.site(
            f"site{n}.client{n % CLIENTS}.example", str(n % CLIENTS), **({"renews": "cdn"} if habit == "robot" else {})
        )
        site.serve(START - chance.randrange(0, int(life * 0.6)) * DAY, life * DAY)
        lives.append(Life(site, habit, life))
    return lives


def _release_all(street: Street) -> None:
    with street.database.write(street.now) as tx:
        for cause in {m["cause"] for m in matters.listing(tx.conn, held=True)}:
            matters.release(tx, cause, 1000, "Ada")


def _heard(street: Street) -> Counter[str]:
    with street.database.read() as conn:
        rows = conn.execute(select(notice_item.c.subject, notice_item.c.round, notice_item.c.step))
        newest = {m["key"]: m["round"] for m in matters.by_key(conn).values()}
        return Counter(s for s, r, step in rows if step != "resolved" and newest.get(s) == r)


def _judge(street: Street, lives: Sequence[Life], received: Sequence[Any]) -> None:
    with street.database.read() as conn:
        notices = {r["id"]: r for r in outbox.listing(conn, limit=1_000_000)}
        items = [dict(r) for r in conn.execute(select(notice_item)).mappings()]
        told = {r["key"]: dict(r) for r in conn.execute(select(matter)).mappings()}
        sent = [dict(r) for r in conn.execute(select(notice).where(notice.c.state == "sent")).mappings()]
    to_clients = [n for n in sent if n["kind"] == "client"]
    staff = [n for n in sent if n["client_id"] is None]
    # Every message that is called sent arrived, and nothing else did.
    assert len(received) == len(sent)
    assert not {n["state"] for n in notices.values()} - {"sent", "dead"}
    assert len({(n["reference"], n["subject"], n["sent_at"], n["sent_to"]) for n in sent}) == len(sent), "nothing twice"
    # One digest on every day on which notices ran, and never two.
    digests = Counter(datetime.fromtimestamp(n["created_at"], UTC).date() for n in staff if n["kind"] == "digest")
    assert max(digests.values()) == 1
    assert len(digests) >= DAYS - 9
    _judge_times(to_clients)
    _judge_items(items, notices, lives)
    _judge_isolation(to_clients, items, told, lives)
    outcomes = Counter(n["outcome"] for n in to_clients)
    print(
        f"{len(sent)} sent: {len(to_clients)} to clients {dict(outcomes)}, {len(staff)} to staff; {len(told)} matters; {sum(len(x.renewals) for x in lives)} renewals"
    )
    alarms = Counter(re.sub(r"\d+", "N", str(n["subject"])) for n in staff if n["kind"] == "alarm")
    assert sum(alarms.values()) < 10, f"staff are woken for what matters: {alarms}"
    assert outcomes["you-act"] > 300
    assert outcomes["resolved"] > 50


def _judge_times(to_clients: Sequence[Mapping[str, Any]]) -> None:
    """Only on working days and in working hours; at most one a day, but for the last day and what came after it."""
    by_contact: dict[object, list[datetime]] = defaultdict(list)
    for row in to_clients:
        at = datetime.fromtimestamp(int(str(row["created_at"])), UTC)
        assert is_working_day(at.date(), "DE"), at
        assert 8 <= at.hour < 18, at
        by_contact[row["contact_id"]].append(at)
    for moments in by_contact.values():
        assert len({m.date() for m in moments}) == len(moments), "one run a day: never two on one"


def _judge_items(items: Sequence[Mapping[str, Any]], notices: Mapping[int, Mapping[str, Any]], lives: Sequence[Life]) -> None:
    keys = Counter((i["contact_id"], i["subject"], i["step"], i["threshold"], i["round"]) for i in items)
    assert max(keys.values()) == 1
    by_round: dict[tuple[object, object], list[tuple[int, str, str]]] = defaultdict(list)
    for item in items:
        if str(item["subject"]).startswith("cover:"):
            at = int(str(notices[int(str(item["notice_id"]))]["created_at"]))
            by_round[(item["subject"], item["round"])].append((at, str(item["step"]), str(item["threshold"])))
    by_key = {x.site.key: x for x in lives}
    for (subject, _), heard in by_round.items():
        ranks = [int(t) if t.startswith("+") else -int(t) for _, step, t in sorted(heard) if step != "resolved"]
        assert ranks == sorted(set(ranks)), f"each threshold once, and ever more urgent: {heard}"
        assert sum(step == "resolved" for _, step, _ in heard) <= 1, "one thank-you"
        life = by_key[str(subject)]
        if life.habit == "robot":
            raise AssertionError(f"a robot that renews in time is no news: {heard}")
    for life in lives:
        if life.habit == "late":
            mine = [h for (s, _), h in by_round.items() if s == life.site.key]
            assert all(len(h) >= 3 for h in mine[:-1]), "who renews late was told, and told again"
            assert len(mine) >= len(life.renewals)


def _judge_isolation(
    to_clients: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
    told: Mapping[str, Mapping[str, Any]],
    lives: Sequence[Life],
) -> None:
    """A message names sites of its own client alone."""
    for row in to_clients:
        named = set(re.findall(r"client(\d+)\.example", f"{row['subject']} {row['text']} {row['html']}"))
        number = re.search(r"owner(\d+)@", str(row["sent_to"]))
        assert number is not None
        assert named <= {number[1]}, row["subject"]
    owners = {x.site.key: x.site.client_id for x in lives}
    assert all(told[k]["client_id"] == owners[k] for k in told if k in owners)
    assert items
