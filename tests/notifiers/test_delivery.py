"""The queue and its worker under real failures, always against a real mail server.

Kills and pauses at each step, two machines at once, dead channels, restored backups.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from inventory.clock import Clock
from inventory.db import maintenance, restore
from inventory.db.database import Database, to_epoch
from inventory.db.opening import open_database
from inventory.models import Notice
from inventory.store import contacts, notices, outbox
from notifiers.channels import Channel, DeliveryStatus, OutgoingMessage, SendResult
from notifiers.delivery import LEASE, DeliveryWorker, backoff
from notifiers.pipeline.send_address import address_of
from tests.campaign import Campaign, follow
from tests.clock import START, ManualClock, frozen
from tests.notifiers.crash import PAUSES, fill
from tests.notifiers.sites import DAY, SiteSimulation, add_expiring_site, sent_items
from tests.servers.mail import MailServer
from tests.servers.ports import free_port

pytestmark = pytest.mark.usefixtures("trusted")

PATIENT = 300.0
"""Seconds: a time limit that no test waits for."""


def mail(server: MailServer) -> Channel:
    return Channel("mail", server.url, timeout=PATIENT, connect_timeout=PATIENT)


def worker(
    database: Database,
    channels: dict[str, Any],
    clock: Clock | None = None,
    rate: float = 0,
    **options: Any,
) -> DeliveryWorker:
    address = address_of(database, "mail")
    return DeliveryWorker(
        database, channels, address, clock or database.clock, rate=rate, **options
    )


def states(database: Database) -> dict[str, int]:
    with database.read() as conn:
        return outbox.depth(conn)


class AnsweringChannel:
    """Has the same delivery status for all messages."""

    name = "mail"

    def __init__(self, status: DeliveryStatus = DeliveryStatus.SENT) -> None:
        self.messages: list[OutgoingMessage] = []
        self._status = status

    def send(self, message: OutgoingMessage) -> SendResult:
        self.messages.append(message)
        return SendResult(self._status)


def test_queued_notice_is_sent_once(database: Database, server: MailServer) -> None:
    fill(database, 30)
    counts = worker(database, {"mail": mail(server)}).run()
    assert (counts.sent, states(database)) == (30, {"sent": 30})
    assert sorted(r.subject for r in server.received) == sorted(f"notice {n}" for n in range(30))
    assert worker(database, {"mail": mail(server)}).run().sent == 0


def test_same_item_is_not_queued_again(database: Database) -> None:
    fill(database, 5)
    with database.write() as tx:
        row = notices.listing(tx.conn, limit=1)[0]
        item = notices.items_of(tx.conn, row.id)[0]
        columns = (
            "contact_id",
            "client_id",
            "kind",
            "reference",
            "secret",
            "outcome",
            "channel",
            "subject",
            "next_at",
            "expires_at",
        )
        values = {k: getattr(row, k) for k in columns} | {"text": "", "html": ""}
        of_item = ("contact_id", "subject", "step", "threshold", "round", "matter_id")
        assert outbox.add(tx, values, [{k: getattr(item, k) for k in of_item}]) is None
    assert states(database) == {"queued": 5}


STATES = {
    DeliveryStatus.SENT: "sent",
    DeliveryStatus.TEMPORARY: "queued",
    DeliveryStatus.PERMANENT: "failed",
    DeliveryStatus.UNKNOWN: "unknown",
}


@pytest.mark.parametrize("status", DeliveryStatus)
def test_delivery_status_decides_the_state_of_its_notice(
    sqlite_database: Database,
    status: DeliveryStatus,
) -> None:
    fill(sqlite_database, 1)
    worker(sqlite_database, {"mail": AnsweringChannel(status)}).run()
    assert states(sqlite_database) == {STATES[status]: 1}


def test_temporary_refusal_is_retried_later_and_bad_address_is_marked(
    database: Database,
    server: MailServer,
) -> None:
    fill(database, 4)
    answers = {"owner0@client.example": "450 later", "owner1@client.example": "550 5.1.1 gone"}
    server.answers = lambda at, to: answers.get(to)
    counts = worker(database, {"mail": mail(server)}).run()
    assert (counts.sent, counts.later, counts.failed) == (2, 1, 1)
    with database.read() as conn:
        rows = {r.subject: r for r in notices.listing(conn)}
        bad = [c.bad for c in contacts.listing(conn) if c.bad]
    assert rows["notice 0"].state == "queued"
    assert rows["notice 0"].next_at > to_epoch(START) + 30
    assert rows["notice 1"].state == "dead"
    assert bad == [("owner1@client.example",)]


def test_notice_of_unknown_status_is_sent_again_only_by_a_person(
    database: Database, server: MailServer, clock: ManualClock
) -> None:
    fill(database, 3, people=3)
    lost = "owner1@client.example"
    server.answers = lambda at, to: "drop" if at == "data" and to == lost else None
    channel = mail(server)
    assert worker(database, {"mail": channel}).run().unknown == 1
    server.answers = lambda at, to: None
    clock.advance(days=1)
    assert worker(database, {"mail": channel}).run().sent == 0
    assert states(database) == {"sent": 2, "unknown": 1}
    with database.write() as tx:
        assert outbox.retry(tx, notices.listing(tx.conn, states=("unknown",))[0].id)
    assert worker(database, {"mail": channel}).run().sent == 1


def test_dead_channel_does_not_stop_the_others(database: Database, server: MailServer) -> None:
    fill(database, 20)
    with database.write() as tx:
        tx.conn.execute(update(Notice).where(Notice.id > 10).values(channel="desk"))
    dead = Channel("desk", f"jsons://localhost:{free_port()}/x", timeout=PATIENT)
    counts = worker(database, {"mail": mail(server), "desk": dead}).run()
    assert counts.sent == 10
    assert counts.later == 3, "skipped after three failures of the channel itself"
    assert "desk" in counts.skipped
    assert states(database) == {"sent": 10, "queued": 10}


def test_channel_removed_from_the_configuration_keeps_its_notices(database: Database) -> None:
    fill(database, 3)
    counts = worker(database, {}).run()
    assert counts.skipped == {"mail": "it is not in the configuration"}
    assert states(database) == {"queued": 3}


def test_notice_goes_to_the_address_at_the_time_of_sending(
    database: Database,
    server: MailServer,
) -> None:
    fill(database, 1, people=1)
    with database.write() as tx:
        contacts.edit(tx, "Owner 0", {}, ("email:new@client.example",))
    worker(database, {"mail": mail(server)}).run()
    assert [r.to for r in server.received] == ["new@client.example"]


def test_expired_notice_is_not_sent(
    database: Database,
    server: MailServer,
    clock: ManualClock,
) -> None:
    fill(database, 2)
    clock.advance(days=40)
    assert worker(database, {"mail": mail(server)}).run().expired == 2
    assert server.received == []
    assert states(database) == {"dead": 2}


def test_client_is_not_written_to_outside_office_hours(simulation: SiteSimulation) -> None:
    add_expiring_site(simulation, left=8)
    assert len(simulation.day().drafts) == 1
    night, morning = (
        simulation.now.replace(hour=23),
        (simulation.now + DAY).replace(hour=8, minute=30),
    )
    channel = AnsweringChannel()
    address = address_of(simulation.database, "mail", simulation.rules)
    late = DeliveryWorker(simulation.database, {"mail": channel}, address, lambda: night, rate=0)
    assert late.run().later == 1
    assert channel.messages == []
    early = DeliveryWorker(simulation.database, {"mail": channel}, address, lambda: morning, rate=0)
    assert early.run().sent == 1


def test_messages_are_sent_at_the_rate(database: Database) -> None:
    fill(database, 5)
    pauses: list[float] = []
    sending = worker(
        database,
        {"mail": AnsweringChannel()},
        rate=20,
        timer=lambda: sum(pauses),
        sleep=pauses.append,
    )
    assert sending.run().sent == 5
    assert pauses == pytest.approx([0, 1 / 20, 1 / 20, 1 / 20, 1 / 20])


def test_run_with_a_limit_sends_no_more_messages(sqlite_database: Database) -> None:
    fill(sqlite_database, 15)
    channel = AnsweringChannel()
    assert worker(sqlite_database, {"mail": channel}, limit=12).run().sent == 12
    assert states(sqlite_database) == {"sent": 12, "queued": 3}


def test_backoff_doubles_with_jitter_and_has_a_limit() -> None:
    assert [backoff(n, 0.5) for n in (1, 2, 3)] == [120, 240, 480]
    assert backoff(1, 0.0) == 60
    assert backoff(50, 1.0) <= 9 * 3600


def test_worker_whose_lease_was_lost_does_not_send(database: Database) -> None:
    """A worker pauses past its lease before the call, and another one takes the row."""
    (notice_id,) = fill(database, 1)
    now = START + timedelta(minutes=1)
    with database.write(now) as tx:
        assert [r.id for r in outbox.lease(tx, "mail", "first", LEASE, 5)] == [notice_id]
    with database.write(now + timedelta(seconds=LEASE + 5)) as tx:
        assert outbox.recover(tx) == (1, 0)
        assert [r.id for r in outbox.lease(tx, "mail", "second", LEASE, 5)] == [notice_id]
    with database.write(now + timedelta(seconds=LEASE + 6)) as tx:
        assert not outbox.begin(tx, notice_id, "first", LEASE)
        assert outbox.begin(tx, notice_id, "second", LEASE)
    # It pauses during the call: the delivery status is unknown until it reports that it was sent.
    with database.write(now + timedelta(seconds=3 * LEASE)) as tx:
        assert outbox.recover(tx) == (0, 1)
        assert outbox.finish(tx, notice_id, "second", "sent")
    assert states(database) == {"sent": 1}


def test_two_workers_at_once_send_each_notice_once(
    database: Database,
    server: MailServer,
    url: str,
    clock: ManualClock,
) -> None:
    fill(database, 60)
    second = open_database(url, actor="other machine", clock=clock)
    channel = mail(server)
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda d: worker(d, {"mail": channel}).run(), (database, second))
        assert sum(c.sent for c in runs) == 60
    second.close()
    assert max(Counter(r.subject for r in server.received).values()) == 1


def test_worker_whose_time_ends_stops_between_two_messages_and_frees_the_rest(
    database: Database, server: MailServer
) -> None:
    fill(database, 5)
    seconds = iter(range(1000))  # each question for the time is a second later
    channels = {"mail": mail(server)}
    counts = worker(database, channels, seconds=3.0, timer=lambda: float(next(seconds))).run()
    assert 0 < counts.sent < 5
    assert states(database) == {"sent": counts.sent, "queued": 5 - counts.sent}
    assert worker(database, channels).run().sent == 5 - counts.sent


@pytest.mark.longest
@pytest.mark.campaign
def test_kills_and_pauses_lose_no_notice_and_send_none_twice(
    url: str, server: MailServer, tmp_path: Path, campaign: Campaign
) -> None:
    """Two workers run at once, as on two machines."""
    kills = campaign.size("kills", 14, 300)
    database = open_database(url, actor="tester", clock=frozen)
    fill(database, 7 * kills)
    database.close()
    rounds, errors = tmp_path / "rounds.jsonl", tmp_path / "errors.txt"
    command = [sys.executable, "-m", "tests.notifiers.crash", url, server.url, str(kills)]
    with rounds.open("wb") as out, errors.open("wb") as err:
        root = Path(__file__).parents[2]
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=root)
        code = follow(process, lambda: (len(server.received), rounds.stat().st_size), "the workers")
    assert code == 0, errors.read_text()[-3000:]
    done = json.loads(rounds.read_text().splitlines()[-1])
    campaign.report("pauses", done["pauses"])
    campaign.report("notices", done["total"])
    marks = (r.mail["X-Certmgr-Notice"] for r in server.received)
    received = Counter(int(mark.split(".")[0]) for mark in marks)
    with database.read() as conn:
        final = outbox.depth(conn)
        sent = {r.id for r in notices.listing(conn, states=("sent",), limit=100_000)}
        unknown = {r.id for r in notices.listing(conn, states=("unknown",), limit=100_000)}
    database.close()
    assert done["killed"] >= kills
    assert done["pauses"] >= PAUSES
    assert max(received.values()) == 1, f"twice: {[k for k, n in received.items() if n > 1]}"
    assert set(final) <= {"sent", "unknown"}
    assert final["sent"] + final.get("unknown", 0) == done["total"]
    assert sent <= set(received), "each notice in the state sent arrived"
    assert set(received) <= sent | unknown
    stops = done["killed"] + done["pauses"]
    assert len(unknown) <= stops, "a kill or a pause makes at most one notice unknown"


def test_notices_in_a_restored_queue_are_unknown_and_not_sent_again(
    sqlite_database: Database,
    tmp_path: Path,
) -> None:
    simulation = SiteSimulation(sqlite_database)
    add_expiring_site(simulation, left=8)
    simulation.day()
    maintenance.backup(simulation.database.engine, tmp_path / "backup.db")
    simulation.mark_sent()
    simulation.database.close()
    restore.restore_backup(simulation.database.engine, tmp_path / "backup.db")
    assert states(simulation.database) == {"unknown": 1}
    assert sent_items(simulation.notify()) == [], "it may have been sent"


def test_restore_that_is_killed_leaves_the_queue_as_it_was(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old queue is marked as unknown before the database has it."""
    simulation = SiteSimulation(sqlite_database)
    add_expiring_site(simulation, left=8)
    simulation.day()
    maintenance.backup(simulation.database.engine, tmp_path / "backup.db")
    simulation.mark_sent()
    simulation.database.close()

    def die(_connection: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(restore, "_mark_notices_unknown", die)
    with pytest.raises(KeyboardInterrupt):
        restore.restore_backup(simulation.database.engine, tmp_path / "backup.db")
    assert states(simulation.database) == {"sent": 1}, "nothing was restored"
    assert not list(tmp_path.glob(".*.restoring"))
