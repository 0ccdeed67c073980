"""The queue under real failures: kills and pauses at injected points, two machines, dead channels; always against a real mail server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.demo.authority import Authority
from inventory.database import Database, open_database, to_epoch
from inventory.store import contacts, outbox
from notifiers.channels import Channel, Fate
from notifiers.delivery import LEASE, Worker, backoff
from notifiers.job import address_of
from tests.clock import clock
from tests.notifiers.crash import fill
from tests.servers.mail import PASSWORD, USER, MailServer, mail_server
from tests.servers.ports import free_port, wait_for
from tests.servers.real import long_lived, write_pair


@pytest.fixture(autouse=True)
def trusted(root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trusted.pem"
    path.write_bytes(root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@pytest.fixture
def server(root: Authority, tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(root, tmp_path / "mail") as found:
        yield found


def worker(database: Database, channels: dict[str, Any], rate: float = 0, **options: Any) -> Worker:
    return Worker(database, channels, address_of(database, "mail"), lambda: clock(), rate=rate, **options)


def states(database: Database) -> dict[str, int]:
    with database.read() as conn:
        return outbox.depth(conn)


def test_what_is_queued_is_sent_once(database: Database, server: MailServer) -> None:
    fill(database, 30)
    counts = worker(database, {"mail": Channel("mail", server.url)}).run()
    assert (counts.sent, states(database)) == (30, {"sent": 30})
    assert sorted(r.subject for r in server.received) == sorted(f"notice {n}" for n in range(30))
    assert worker(database, {"mail": Channel("mail", server.url)}).run().sent == 0


def test_the_same_item_is_queued_once(database: Database) -> None:
    fill(database, 5)
    with database.write() as tx:
        row = outbox.listing(tx.conn, limit=1)[0]
        item = outbox.items_of(tx.conn, row["id"])[0]
        again = {
            k: row[k]
            for k in (
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
        }
        assert (
            outbox.add(
                tx,
                again | {"text": "", "html": ""},
                [{k: item[k] for k in ("contact_id", "subject", "step", "threshold", "round", "matter_id")}],
            )
            is None
        )
    assert states(database) == {"queued": 5}


def test_a_temporary_refusal_is_tried_later_and_a_bad_address_is_marked(database: Database, server: MailServer) -> None:
    fill(database, 4)
    server.answers = lambda at, to: {"owner0@client.example": "450 later", "owner1@client.example": "550 5.1.1 gone"}.get(to)
    counts = worker(database, {"mail": Channel("mail", server.url)}).run()
    assert (counts.sent, counts.later, counts.failed) == (2, 1, 1)
    with database.read() as conn:
        rows = {r["subject"]: r for r in outbox.listing(conn)}
        bad = [c["bad"] for c in contacts.listing(conn) if c["bad"]]
    assert rows["notice 0"]["state"] == "queued"
    assert rows["notice 0"]["next_at"] > to_epoch(clock()) + 30
    assert rows["notice 1"]["state"] == "dead"
    assert bad == [["owner1@client.example"]]


def test_unknown_is_never_sent_again_by_itself(database: Database, server: MailServer) -> None:
    fill(database, 3, people=3)
    server.answers = lambda at, to: "drop" if at == "data" and to == "owner1@client.example" else None
    channel = Channel("mail", server.url, timeout=5, connect_timeout=2)
    assert worker(database, {"mail": channel}).run().unknown == 1
    server.answers = lambda at, to: None
    later = Worker(database, {"mail": channel}, address_of(database, "mail"), lambda: clock() + timedelta(days=1), rate=0)
    assert later.run().sent == 0
    assert states(database) == {"sent": 2, "unknown": 1}
    with database.write() as tx:
        assert outbox.retry(tx, outbox.listing(tx.conn, states=("unknown",))[0]["id"]), "a person may"
    assert worker(database, {"mail": channel}).run().sent == 1


def test_one_dead_channel_stops_nothing(database: Database, server: MailServer) -> None:
    fill(database, 20)
    with database.write() as tx:
        from sqlalchemy import update

        from inventory.tables import notice

        tx.conn.execute(update(notice).where(notice.c.id > 10).values(channel="desk"))
    dead = Channel("desk", f"jsons://localhost:{free_port()}/x", timeout=2)
    counts = worker(database, {"mail": Channel("mail", server.url), "desk": dead}).run()
    assert counts.sent == 10
    assert counts.later == 3, "left alone after three failures of the channel itself"
    assert "desk" in counts.skipped
    assert states(database) == {"sent": 10, "queued": 10}


def test_a_channel_that_left_the_configuration_keeps_its_notices(database: Database) -> None:
    fill(database, 3)
    counts = worker(database, {}).run()
    assert counts.skipped == {"mail": "it is not in the configuration any more"}
    assert states(database) == {"queued": 3}


def test_the_address_is_that_of_the_moment_of_sending(database: Database, server: MailServer) -> None:
    fill(database, 1, people=1)
    with database.write() as tx:
        contacts.edit(tx, "Owner 0", {}, ("email:new@client.example",))
    worker(database, {"mail": Channel("mail", server.url)}).run()
    assert [r.to for r in server.received] == ["new@client.example"]


def test_what_expired_is_not_sent(database: Database, server: MailServer) -> None:
    fill(database, 2)
    late = Worker(
        database,
        {"mail": Channel("mail", server.url)},
        address_of(database, "mail"),
        lambda: clock() + timedelta(days=40),
        rate=0,
    )
    assert late.run().expired == 2
    assert server.received == []
    assert states(database) == {"dead": 2}


def test_a_rate_is_kept(database: Database, server: MailServer) -> None:
    fill(database, 5)
    begin = time.monotonic()
    worker(database, {"mail": Channel("mail", server.url)}, rate=20).run()
    assert time.monotonic() - begin >= 4 / 20, "a floor, and no measure of speed"


def test_backoff_doubles_with_jitter_and_has_a_limit() -> None:
    assert [backoff(n, 0.5) for n in (1, 2, 3)] == [120, 240, 480]
    assert backoff(1, 0.0) == 60
    assert backoff(50, 1.0) <= 9 * 3600


def test_a_lease_that_was_lost_is_not_sent(database: Database) -> None:
    """A worker sleeps past its lease before the call; another takes the row. The first must not send."""
    (notice_id,) = fill(database, 1)
    now = clock()
    with database.write(now) as tx:
        assert [r["id"] for r in outbox.lease(tx, "mail", "first", LEASE, 5)] == [notice_id]
    with database.write(now + timedelta(seconds=LEASE + 5)) as tx:
        assert outbox.recover(tx) == (1, 0)
        assert [r["id"] for r in outbox.lease(tx, "mail", "second", LEASE, 5)] == [notice_id]
    with database.write(now + timedelta(seconds=LEASE + 6)) as tx:
        assert not outbox.begin(tx, notice_id, "first", LEASE)
        assert outbox.begin(tx, notice_id, "second", LEASE)
    # It sleeps during the call: nobody knows, until it wakes and says that it was sent.
    with database.write(now + timedelta(seconds=3 * LEASE)) as tx:
        assert outbox.recover(tx) == (0, 1)
        assert outbox.finish(tx, notice_id, "second", "sent")
    assert states(database) == {"sent": 1}


# -- kills -----------------------------------------------------------------------------------------------------------------------

_SERVER = """
import sys
from pathlib import Path
import ssl, asyncio
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

class Handler:
    async def handle_DATA(self, server, session, envelope):
        line = next(l for l in envelope.content.decode('utf-8', 'replace').splitlines() if l.startswith('X-Certmgr-Notice:'))
        with open(sys.argv[4], 'a') as file:
            file.write(line.split(':', 1)[1].strip() + chr(10))
        return '250 OK'

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
check = lambda *a: AuthResult(success=True)
controller = Controller(Handler(), hostname='127.0.0.1', port=int(sys.argv[3]), tls_context=context, require_starttls=True, auth_required=True, authenticator=check)
controller.start()
sys.stdin.read()
"""


@contextmanager
def outside_server(root: Authority, folder: Path) -> Iterator[tuple[str, Path]]:
    """A mail server in a process of its own, which writes down the mark of each message before it says 250."""
    certificate, key = write_pair(folder, long_lived(root, "localhost"), "outside")
    port, log = free_port(), folder / "received.txt"
    log.touch()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(certificate), str(key), str(port), str(log)], stdin=subprocess.PIPE
    )
    try:
        wait_for(port, process)
        yield f"mailtos://{USER}:{PASSWORD}@localhost:{port}?smtp=localhost&mode=starttls&from=notices@provider.example", log
    finally:
        process.kill()
        process.wait(10)


def test_hundreds_of_kills_and_pauses_lose_nothing_and_double_nothing(url: str, root: Authority, tmp_path: Path) -> None:
    """Two workers at once, as on two machines: sent + unknown = queued, and no message twice."""
    count, kills = (1500, 220) if "postgresql" not in url else (700, 80)
    database = open_database(url, actor="tester", migrate=True)
    fill(database, count)
    database.close()
    with outside_server(root, tmp_path) as (mail, log):
        command = [sys.executable, "-m", "tests.notifiers.crash", url, mail, str(kills)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr[-3000:]
        said = json.loads(done.stdout.splitlines()[-1])
        received = Counter(int(line.split(".")[0]) for line in log.read_text().split())
    with database.read() as conn:
        final = outbox.depth(conn)
        by_state = {s: {r["id"] for r in outbox.listing(conn, states=(s,), limit=100_000)} for s in ("sent", "unknown")}
    database.close()
    print(said, final, f"{sum(received.values())} arrived")
    assert said["killed"] >= kills
    assert max(received.values()) == 1, f"doubled: {[k for k, n in received.items() if n > 1]}"
    assert set(final) <= {"sent", "unknown"}
    assert final["sent"] + final.get("unknown", 0) == said["total"], "sent + unknown = queued"
    assert by_state["sent"] <= set(received), "what is called sent has arrived"
    assert set(received) <= by_state["sent"] | by_state["unknown"]
    assert len(by_state["unknown"]) <= said["killed"] + said["pauses"], "a death or a pause makes one notice unknown at most"
    assert said["pauses"] > 5


def test_two_workers_at_once_share_the_queue(database: Database, server: MailServer, url: str) -> None:
    fill(database, 60)
    second = open_database(url, actor="other machine")
    channel = Channel("mail", server.url)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda d: worker(d, {"mail": channel}).run(), (database, second)))
    second.close()
    assert sum(c.sent for c in counts) == 60
    assert max(Counter(r.subject for r in server.received).values()) == 1


def test_fates_are_what_the_worker_knows() -> None:
    assert set(Fate) == {Fate.SENT, Fate.TEMPORARY, Fate.PERMANENT, Fate.UNKNOWN}
