"""Workers that die: ``python -m tests.notifiers.crash URL MAIL KILLS`` forks them two at a time until the queue is empty and enough were killed.

A process of its own, with one thread: a fork copies locks that other threads hold.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from inventory.clock import system_clock
from inventory.database import Database, open_database
from inventory.store import clients, contacts, outbox
from notifiers.channels import Channel, Delivery, Outgoing
from notifiers.delivery import LEASE, Worker
from notifiers.job import address_of


def fill(database: Database, count: int, people: int = 10, channel: str = "mail", start: int = 0) -> list[int]:
    """``count`` queued notices to ``people`` contacts, numbered from ``start``."""
    now = system_clock()
    with database.write(now) as tx:
        if not contacts.listing(tx.conn):
            for n in range(people):
                clients.add(tx, {"number": str(n), "name": f"Client {n}"})
                contacts.add(tx, str(n), {"name": f"Owner {n}"}, (f"email:owner{n}@client.example", "channel:desk"))
        ids = [(c["id"], c["client_id"]) for c in contacts.listing(tx.conn)]
        made = []
        for n in range(start, start + count):
            contact_id, client_id = ids[n % len(ids)]
            values = {
                "contact_id": contact_id, "client_id": client_id, "kind": "client", "reference": "CM-AAAAAA", "secret": secrets.token_hex(10), "outcome": "you-act",
                "channel": channel, "subject": f"notice {n}", "text": f"text {n}", "html": f"<p>html {n}</p>", "next_at": tx.at, "expires_at": tx.at + 86_400 * 30,
            }  # fmt: skip
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
            made.append(notice_id)
    return made


class Doomed:
    """A database whose worker dies, or stands still, at the n-th step: before or after a commit, before or after the call."""

    def __init__(self, real: Database, channel: Channel, step: int, how: str) -> None:
        self.real, self.channel, self.left, self.how, self.name = real, channel, step, how, "mail"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def _point(self) -> None:
        self.left -= 1
        if self.left == 0:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(float(self.how))

    @contextmanager
    def write(self, now: datetime | None = None) -> Iterator[Any]:
        self._point()
        with self.real.write(now) as tx:
            yield tx
            self._point()
        self._point()

    def send(self, message: Outgoing) -> Delivery:
        self._point()
        done = self.channel.send(message)
        self._point()
        return done


def _child(url: str, mail: str, step: int, how: str, skew: float) -> int:
    """One worker in a process of its own, forked from here so that nothing is imported anew."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(60)
    code = 1
    try:
        database = open_database(url, actor="worker")
        doomed = Doomed(database, Channel("mail", mail, timeout=20), step, how)
        work: Any = doomed
        Worker(
            work,
            {"mail": doomed},
            address_of(database, "mail"),
            lambda: system_clock() + timedelta(seconds=skew),
            rate=0,
            limit=40,
        ).run()
        code = 0
    finally:
        os._exit(code)


def main(url: str, mail: str, kills: int) -> None:
    """Every death is a SIGKILL at a random step; in every fifth round a worker stands still past its lease. Prints what was done as JSON."""
    chance, killed, round_, quiet, pauses = random.Random(7), 0, 0, 0, 0
    database = open_database(url, actor="driver")
    total = sum(_depth(database).values())
    while killed < kills or quiet < 2:
        round_ += 1
        assert round_ < 800, "the queue must come to an end"
        # Time runs ahead of the leases, so that what a dead worker held is taken up by the next one.
        skew = round_ * (2 * LEASE + 50.0)
        pausing = round_ % 5 == 0
        children = [
            _child(url, mail, chance.randint(1, 90) if killed < kills or pausing else 10**9, "0.7" if pausing else "kill", skew)
        ]
        if pausing:
            # The first stands still at its step; for the second its lease is over, so that it takes the rows. Then the first wakes up.
            time.sleep(0.3)
            skew += LEASE + 20
            pauses += 1
        children.append(_child(url, mail, chance.randint(1, 90) if killed < kills else 10**9, "kill", skew))
        for pid in children:
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
            assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL, status
            killed += os.WIFSIGNALED(status)
        left = _depth(database)
        quiet = quiet + 1 if not {"queued", "leased", "sending"} & set(left) else 0
        if quiet and killed < kills:
            fill(database, 300, start=total)  # all is sent, and there are deaths left: more of the same
            total, quiet = total + 300, 0
    print(json.dumps({"killed": killed, "pauses": pauses, "rounds": round_, "total": total}))


def _depth(database: Database) -> dict[str, int]:
    with database.read() as conn:
        found = outbox.depth(conn)
    database.close()  # nothing open is inherited by a child
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
