"""A takeover from certbot of two lineages, and its undo, in children that are killed at each step.

Jobs of ``python -m tests.certmgr.deploy.forks tests.certmgr.acme.takeover_deaths``.
"""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from certmgr.acme.takeover import adopt
from certmgr.acme.takeover.adopt import AdoptionPlan, AdoptionRequest
from certmgr.config.acme import AcmeSettings, SolverSettings
from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.deploy.clients.certbot_schedules import renewal_schedules
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule
from inventory.clock import system_clock
from inventory.store import clients, domains, lineages
from tests.certmgr.deploy.certbot_place import certbot_account, certbot_lineage, content
from tests.certmgr.deploy.forks import Child, die_at, without_sync
from tests.certmgr.deploy.rig import make_bundle, read_by_links
from tests.databases import open_sqlite

NAMES = ("one.test", "two.test")
TIMER = "etc/systemd/system/timers.target.wants/certbot.timer"
SYSTEMCTL = """#!/bin/sh
case $1 in
    disable) rm -f {timer} ;;
    enable) ln -sf /lib/systemd/system/certbot.timer {timer} ;;
esac
"""


def open_context(folder: Path) -> Context:
    """Return a context with an inventory and a solver in a folder."""
    acme = AcmeSettings(
        directory=str(folder / "acme"),
        default_solver="web",
        solvers={"web": SolverSettings(kind="alias", path="/srv/challenges")},
    )
    database = open_sqlite(folder / "inventory.db", clock=system_clock)
    return Context(database, Settings(acme=acme), system_clock)


class TakeoverPlace(ABC):
    """A machine with a client and an inventory, and what an administrator does there."""

    folder: Path

    @abstractmethod
    def plan(self, context: Context) -> tuple[AdoptionRequest, AdoptionPlan]:
        """Return the plan of a takeover, whose timers are those of this folder."""

    def context(self) -> Context:
        return open_context(self.folder)

    def take_over(self, prepare: Callable[[], object] = lambda: None) -> list[str]:
        """Take over; ``prepare`` is called before the first change."""
        context = self.context()
        try:
            wanted, planned = self.plan(context)
            prepare()
            return adopt.take_over(context, wanted, planned)
        finally:
            context.database.close()

    def undo(self, prepare: Callable[[], object] = lambda: None) -> None:
        context = self.context()
        try:
            prepare()
            for name in adopt.taken_over(context):
                adopt.give_back(context, name)
        finally:
            context.database.close()

    def active(self) -> list[str]:
        context = self.context()
        try:
            with context.read() as conn:
                return sorted(r.name for r in lineages.listing(conn))
        finally:
            context.database.close()


@dataclass
class Place(TakeoverPlace):
    """A machine with certbot, its timer and an inventory.

    Attributes:
        folder: The folder of everything.
        keep_timer: Whether a third lineage stays with certbot.
    """

    folder: Path
    keep_timer: bool = False

    @property
    def certbot(self) -> Path:
        return self.folder / "letsencrypt"

    @property
    def timer(self) -> Path:
        return self.folder / "root" / TIMER

    def prepare(self) -> None:
        account = certbot_account(self.certbot, ec.generate_private_key(ec.SECP256R1()))
        issuer = Authority("Issuer", Authority("Root"))
        for name in (*NAMES, *(("stranger.test",) if self.keep_timer else ())):
            certbot_lineage(self.certbot, name, issuer.issue(name, days=50), account=account)
        self.timer.parent.mkdir(parents=True)
        self.timer.symlink_to("/lib/systemd/system/certbot.timer")
        program = self.folder / "systemctl"
        program.write_text(SYSTEMCTL.format(timer=self.timer))
        program.chmod(0o755)
        context = self.context()
        with context.write() as tx:
            clients.add(tx, {"number": "1001", "name": "Client"})
            for name in NAMES:
                domains.add(tx, name, {"client": "1001"})
        context.database.close()

    def plan(self, context: Context) -> tuple[AdoptionRequest, AdoptionPlan]:
        root = self.folder / "root"
        wanted = AdoptionRequest(self.certbot, root=root, keep_timer=self.keep_timer)
        program = str(self.folder / "systemctl")
        schedules = tuple(
            Schedule(s.source, (program, "disable"), s.todo, (program, "enable"))
            for s in renewal_schedules(root)
        )
        return wanted, replace(adopt.plan(context, wanted), schedules=schedules)

    def require_readable(self) -> None:
        for name in NAMES:
            assert read_by_links(self.certbot / "live" / name).chain_der

    def require_restored(self, before: dict[str, bytes]) -> None:
        assert content(self.certbot) == before
        assert self.timer.is_symlink(), "the timer is not enabled"
        assert self.active() == []
        assert not (self.folder / "acme" / "certbot-takeover.json").exists()


def deaths(folder: str, stride: int, keep_timer: bool) -> int:
    """Kill a takeover and its undo at every ``stride``-th step, and return the number of kills."""
    place = Place(Path(folder), keep_timer)
    with without_sync():
        place.prepare()
        before = content(place.certbot)
        kills = 0
        for act in (place.take_over, place.undo):
            for step in range(1, 5000, stride):
                if act == place.undo:
                    place.take_over()
                died = killed(act, step)
                place.require_readable()
                # Half of the interrupted takeovers are completed by the next call.
                if died and act == place.take_over and kills % 2:
                    place.take_over()
                    assert sorted(place.active()) == sorted(NAMES)
                    assert place.timer.is_symlink() == keep_timer
                    place.require_readable()
                if died or act == place.take_over:
                    place.undo()
                place.require_restored(before)
                kills += died
                if not died:
                    break
        return kills


def killed(act: Callable[..., object], step: int) -> bool:
    """Run an act in a child that is killed at a step, and return whether it was."""

    def run() -> None:
        act(lambda: die_at(step))

    ended_by = Child(run).ended_by()
    assert ended_by in (0, signal.SIGKILL), ended_by
    return bool(ended_by)


def late_undo(folder: str, stride: int) -> int:
    """Kill the undo of a lineage that was renewed since, at every ``stride``-th step."""
    kills, root = 0, Authority("Other")
    for step in range(1, 5000, stride):
        place = Place(Path(folder) / str(step))
        place.folder.mkdir()
        with without_sync():
            place.prepare()
            place.take_over()
            newer = make_bundle(root.issue(NAMES[0], days=80))
            lineage = Lineage(place.folder / "acme", NAMES[0])
            lineage.switch(lineage.store(newer.key_pem, newer.chain_der))
            died = killed(place.undo, step)
            live = place.certbot / "live" / NAMES[0]
            assert read_by_links(live).sha256 == newer.sha256
            place.undo()
        assert read_by_links(live).sha256 == newer.sha256
        assert (live / "cert.pem").resolve().name == "cert2.pem"
        assert place.active() == [] and place.timer.is_symlink()
        kills += died
        if not died:
            break
    return kills


JOBS = {"deaths": deaths, "late_undo": late_undo}
