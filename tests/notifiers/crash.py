"""Workers that die or pause at chosen steps: ``python -m tests.notifiers.crash URL MAIL KILLS``.

Forks workers, two at a time, until enough of them were killed and the queue is empty. It prints
its counts as one line of JSON per round.

It is a separate process with one thread: a fork copies locks that other threads hold.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from inventory.db.database import Database
from inventory.db.opening import open_database
from inventory.store import clients, contacts, outbox
from notifiers.channels import Channel, DeliveryStatus, OutgoingMessage, SendResult
from notifiers.delivery import BATCH, LEASE, DeliveryWorker
from notifiers.pipeline.send_address import address_of
from tests.campaign import PATIENCE
from tests.clock import START
from tests.databases import share_statements_with_forks

PAUSES = 6
"""A campaign has at least this many pauses."""
NEVER = 10**9


def fill(database: Database, count: int, people: int = 10, start: int = 0) -> list[int]:
    """Queue ``count`` notices, numbered from ``start``, to ``people`` contacts.

    Returns:
        The ids of the notices.
    """
    with database.write() as tx:
        if not contacts.listing(tx.conn):
            for n in range(people):
                clients.add(tx, {"number": str(n), "name": f"Client {n}"})
                methods = (f"email:owner{n}@client.example", "channel:desk")
                contacts.add(tx, str(n), {"name": f"Owner {n}"}, methods)
        ids = [(c.id, c.client_id) for c in contacts.listing(tx.conn)]
        found = []
        for n in range(start, start + count):
            contact_id, client_id = ids[n % len(ids)]
            values = {
                "contact_id": contact_id,
                "client_id": client_id,
                "kind": "client",
                "reference": "CM-AAAAAA",
                "secret": secrets.token_hex(10),
                "outcome": "you-act",
                "channel": "mail",
                "subject": f"notice {n}",
                "text": f"text {n}",
                "html": f"<p>html {n}</p>",
                "next_at": tx.at,
                "expires_at": tx.at + 86_400 * 30,
            }
            item = {
                "contact_id": contact_id,
                "subject": f"cover:{n}",
                "step": "owner",
                "threshold": "7",
                "round": "r",
                "matter_id": None,
            }
            notice_id = outbox.add(tx, values, [item])
            assert notice_id is not None
            found.append(notice_id)
    return found


class Gate:
    """Where a worker pauses until its driver opens it."""

    def __init__(self) -> None:
        self._arrival, self._opening = os.pipe(), os.pipe()

    def wait(self, locked: bool) -> None:
        """In the worker: report that it pauses, and whether within a transaction, and wait."""
        signal.alarm(0)
        os.close(self._opening[1])
        os.write(self._arrival[1], b"locked" if locked else b"free")
        os.read(self._opening[0], 1)

    def arrival(self) -> bytes:
        """In the driver: return what the worker reports, or nothing if it ended without a pause."""
        os.close(self._arrival[1])
        return os.read(self._arrival[0], 6)

    def open(self) -> None:
        os.write(self._opening[1], b"x")

    def close(self) -> None:
        for end in (self._arrival[0], *self._opening):
            os.close(end)


class Doomed:
    """The database and the channel of a worker that is stopped at its n-th step.

    Each transaction has three steps (before it, before its commit, after it) and each call of the
    channel two. A worker has six before its first notice (the recovery and the first lease) and
    eight per notice.
    """

    name = "mail"

    def __init__(
        self,
        real: Database,
        channel: Channel,
        step: int,
        stop: Callable[[bool], None],
    ) -> None:
        self._real, self._channel, self._left, self._stop = real, channel, step, stop

    def _step(self, *, locked: bool = False) -> None:
        signal.alarm(int(PATIENCE))  # a worker without a step for so long is stuck
        self._left -= 1
        if self._left == 0:
            self._stop(locked)

    @contextmanager
    def write(self, now: datetime | None = None) -> Iterator[Any]:
        self._step()
        with self._real.write(now) as tx:
            yield tx
            self._step(locked=True)
        self._step()

    def send(self, message: OutgoingMessage) -> SendResult:
        self._step()
        delivery = self._channel.send(message)
        self._step()
        return delivery


class Unavailable:
    """A channel that sends nothing at the moment, and leaves no thread, which a fork needs."""

    name = "mail"

    def send(self, message: OutgoingMessage) -> SendResult:
        return SendResult(DeliveryStatus.TEMPORARY, "the first attempt")


def _stop_at(n: int, chance: random.Random) -> int:
    """Return the step at which the n-th worker stops: 14 of them reach each kind of step once."""
    kind = n * 5 % 14
    return kind + 1 if kind < 6 else kind + 1 + 8 * chance.randrange(BATCH)


def _kill(_locked: bool) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Driver:
    def __init__(self, url: str, mail: str) -> None:
        self._url = url
        share_statements_with_forks()
        self._database = open_database(url, actor="driver", clock=lambda: START)
        # Made before the forks, so that no worker has to import the mail library.
        self._channel = Channel("mail", mail, timeout=2 * PATIENCE, connect_timeout=2 * PATIENCE)
        self._chance = random.Random(7)
        self._stops = self._killed = self._pauses = self._rounds = 0
        self._total = sum(self._depth().values())
        self._postpone_one()

    def _postpone_one(self) -> None:
        """Attempt a notice in this process, so that no worker has to compile the statements."""
        clock = partial(_after_start, 0)
        channel: Any = Unavailable()
        address = address_of(self._database, "mail")
        DeliveryWorker(self._database, {"mail": channel}, address, clock, rate=0, limit=1).run()
        assert threading.active_count() == 1

    def run(self, kills: int) -> None:
        quiet = idle = 0
        last: object = None
        while self._killed < kills or self._pauses < PAUSES or quiet < 2:
            self._rounds += 1
            # Time passes the leases, so that the next workers take what the killed ones held.
            skew = self._rounds * (2 * LEASE + 50.0)
            killing = self._killed < kills
            if self._rounds % 2 == 0:
                self._pause_one(skew, killing)
            else:
                self._wait(*(self._fork(skew, self._next(killing), _kill) for _ in range(2)))
            left = self._depth()
            counts = {"killed": self._killed, "pauses": self._pauses, "total": self._total}
            print(json.dumps(counts | {"rounds": self._rounds, "left": left}), flush=True)
            state = (counts, left)
            idle, last = (idle + 1 if state == last else 0), state
            assert idle < 20, f"the queue makes no progress: {state}"
            quiet = quiet + 1 if not {"queued", "leased", "sending"} & set(left) else 0
            if quiet and (self._killed < kills or self._pauses < PAUSES):
                # All is sent before the campaign is over: more of the same.
                fill(self._database, 2 * kills, start=self._total)
                self._total, quiet = self._total + 2 * kills, 0

    def _next(self, stopping: bool) -> int:
        if not stopping:
            return NEVER
        self._stops += 1
        return _stop_at(self._stops, self._chance)

    def _pause_one(self, skew: float, killing: bool) -> None:
        """Run two workers: the first pauses until the second, which is past its lease, has ended.

        A pause within a transaction ends at once: the second would wait for its lock.
        """
        gate = Gate()
        first = self._fork(skew, _stop_at(self._pauses, self._chance), gate.wait)
        arrival = gate.arrival()
        self._pauses += bool(arrival)
        second = self._fork(skew + LEASE + 20, self._next(killing), _kill)
        if arrival == b"locked":
            gate.open()
            self._wait(first, second)
        else:
            self._wait(second)
            gate.open()
            self._wait(first)
        gate.close()

    def _fork(self, skew: float, step: int, stop: Callable[[bool], None]) -> int:
        """Start a worker whose clock stands at ``skew`` seconds after :data:`START`."""
        self._database.close()  # no open connection is inherited
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            clock = partial(_after_start, skew)
            database = open_database(self._url, actor="worker", clock=clock)
            doomed: Any = Doomed(database, self._channel, step, stop)
            address = address_of(database, "mail")
            DeliveryWorker(doomed, {"mail": doomed}, address, clock, rate=0, limit=40).run()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _wait(self, *workers: int) -> None:
        for pid in workers:
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
            assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL, status
            self._killed += os.WIFSIGNALED(status)

    def _depth(self) -> dict[str, int]:
        with self._database.read() as conn:
            return outbox.depth(conn)


def _after_start(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


if __name__ == "__main__":
    Driver(sys.argv[1], sys.argv[2]).run(int(sys.argv[3]))
