"""An order whose process dies while the CA's Retry-After postpones the poll.

The next run goes on with the same order; the answer stays published until the CA has decided, so
that no authorization fails; and there is one order per intent.
"""

from __future__ import annotations

import json
import pickle
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from inventory.clock import system_clock
from inventory.store import acme_orders
from tests.campaign import Campaign
from tests.certmgr.acme.hook import hook
from tests.certmgr.acme.orders.test_crash import Nursery, running_nursery
from tests.certmgr.acme.shop import make_environment
from tests.databases import open_sqlite
from tests.servers import faults, faulty
from tests.servers.faults import Rule, Seen
from tests.servers.faulty import Proxy
from tests.servers.pebble import Pebble

PAUSE, LATER = 7200, 10_800


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with running_nursery() as running:
        yield running


class Undecided:
    """Makes a CA answer that it has not decided yet, and ask for a pause of two hours."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.on = True
        self.rule = Rule(faults.answer(200), "/(authZ|my-order)/", when=self._answer)
        proxy.rules.append(self.rule)

    def _answer(self, seen: Seen) -> bool:
        if not self.on:
            return False
        # Passed on once: its nonce is used then, so that the answer is the CA's even if unchanged.
        status, headers, body = self.proxy.pass_on(seen)
        document, kept = json.loads(body), {k: v for k, v in headers if k in ("Location", "Link")}
        # Only what the CA decided is changed: its authorization, challenges, and its order.
        if status == 200 and document.get("status") in ("valid", "ready"):
            document["status"] = "pending"
            for challenge in document.get("challenges", ()):
                challenge["status"] = "processing"
            body, kept = json.dumps(document).encode(), {"Retry-After": str(PAUSE)}
        content_type = "application/json" if status == 200 else faults.PROBLEM
        self.rule.fault = faults.answer(status, body, content_type, kept)
        return True


@pytest.mark.campaign
def test_order_killed_while_retry_after_postpones_it_is_continued_with_its_answer_in_place(
    settings: Settings,
    tmp_path: Path,
    opened: ExitStack,
    campaign: Campaign,
    nursery: Nursery,
    ca: Pebble,
) -> None:
    proxy = opened.enter_context(faulty.faulty(tmp_path, ca.directory, ca.ca_file))
    database = open_sqlite(tmp_path / "crash.db", clock=system_clock)
    opened.callback(database.close)
    env = make_environment(database, settings, tmp_path, proxy.directory, proxy.ca_file, dns=ca.dns)
    env.client("1001", "shop.test")
    account = env.register()
    env.unwatch("shop.test")
    env.solve(dns=hook(tmp_path, ca))
    lineage = env.lineage("1001", ["shop.test"], solver="dns")
    state = tmp_path / "state"
    state.write_bytes(pickle.dumps((env.settings, str(tmp_path / "crash.db"))))
    undecided, calls = Undecided(proxy), tmp_path / "calls"
    ordered = ca.order_count()

    def published() -> bool:
        """Whether an answer is published, by the calls of the hook."""
        live: set[str] = set()
        for line in calls.read_text().splitlines() if calls.exists() else ():
            action, _, value = line.split()
            (live.add if action == "add" else live.discard)(value)
        return bool(live)

    def complete(ahead: int) -> None:
        undecided.on = False
        done = nursery.child(state, 0, ahead)
        assert done["code"] == 0, done
        assert {o.state for o in env.orders(lineage)} == {"done"}
        assert ca.order_count() - ordered == len(env.orders(lineage)), "an order was doubled"
        assert not published() and list((env.context.base / "proofs").iterdir()) == []
        undecided.on = True

    undecided.on = True
    waited = nursery.child(state, 0, 0)
    steps: list[str] = waited["steps"]
    assert "pause" in steps and "finalize" not in steps and "waits" in str(waited), waited
    assert published()
    complete(LATER)
    told = steps.index("answer") + 1
    stride = campaign.size("of the steps one in ... is killed", 4, 1)
    # The pauses are what is new here; before them test_crash.py kills each step.
    numbers = sorted({*range(1, len(steps) + 1, stride), steps.index("pause") + 1, len(steps)})
    for start, number in enumerate(numbers, 1):
        day = start * 10 * LATER  # a clock must not go back
        died = nursery.child(state, number, day)
        # A run may poll once less than the first one, and then ends before the last steps.
        assert died["code"] in (-signal.SIGKILL, 3) or number > len(died["steps"]), died
        if number > told + 1:
            assert published(), f"the answer is gone after a death at {died['steps'][-1]}"
        before = ca.order_count()
        again = nursery.child(state, 0, day + LATER)
        assert "waits" in str(again) and published(), again
        assert ca.order_count() - before <= (number <= told), "another order was placed"
        complete(day + 2 * LATER)
    campaign.report("kills", len(numbers))
    with database.read() as conn:
        events = acme_orders.events(conn, [account.id], 0)
    assert not [e for e in events if e.kind == "failure"], "an authorization failed"
