"""A takeover from acme.sh, lego or dehydrated and its undo, in children killed at each step.

Jobs of ``python -m tests.certmgr.deploy.forks tests.certmgr.acme.client_deaths``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from certmgr.acme.takeover import adopt
from certmgr.acme.takeover.adopt import AdoptionPlan, AdoptionRequest
from certmgr.config.context import Context
from certmgr.demo.authority import Authority
from certmgr.deploy.clients import served_files
from certmgr.deploy.takeover import Schedule
from certmgr.x509.bundle import build_bundle
from inventory.certificates import from_pem
from inventory.store import clients, domains
from tests.certmgr.acme.takeover_deaths import NAMES, SYSTEMCTL, TakeoverPlace, killed
from tests.certmgr.deploy.certbot_place import content
from tests.certmgr.deploy.clients import places
from tests.certmgr.deploy.forks import without_sync

CLIENTS_OF_CAMPAIGN = ("acme.sh", "lego", "dehydrated")


@dataclass
class ClientPlace(TakeoverPlace):
    """A machine with another client, what runs it, and an inventory.

    Attributes:
        folder: The folder of everything.
        client: The client.
    """

    folder: Path
    client: str
    module: Any = served_files

    @property
    def base(self) -> Path:
        return self.folder / "client"

    @property
    def timer(self) -> Path:
        """The link of the timer; the cron table of acme.sh, which only an administrator edits."""
        root = self.folder / "root"
        if self.client == "acme.sh":
            return root / "var/spool/cron/crontabs/root"
        return root / f"etc/systemd/system/timers.target.wants/{self.client}.timer"

    def prepare(self) -> None:
        issuer = Authority("Issuer", Authority("Root"))
        root = self.folder / "root"
        match self.client:
            case "acme.sh":
                places.acme_sh_account(self.base)
                places.cron_table(root, f'7 0 * * * "{self.base}"/acme.sh --cron > /dev/null')
            case "lego":
                places.lego_account(self.base)
                places.timer(root, "lego", "/usr/bin/lego renew-all")
            case _:
                places.dehydrated_base(self.base)
                places.timer(root, "dehydrated", "/usr/bin/dehydrated -c")
        for name in NAMES:
            issued = issuer.issue(name, days=50)
            match self.client:
                case "acme.sh":
                    installed = {
                        "Le_RealKeyPath": str(self.base / "web" / f"{name}.key"),
                        "Le_RealFullChainPath": str(self.base / "web" / f"{name}.pem"),
                    }
                    places.acme_sh_certificate(self.base, name, issued, values=installed)
                case "lego":
                    places.lego_certificate(self.base, name, issued)
                case _:
                    places.dehydrated_certificate(self.base, name, issued)
        program = self.folder / "systemctl"
        program.write_text(SYSTEMCTL.format(timer=self.timer))
        program.chmod(0o755)
        context = self.context()
        with context.write() as tx:
            clients.add(tx, {"number": "1001", "name": "Client"})
            for name in NAMES:
                domains.add(tx, name, {"client": "1001"})
        context.database.close()

    def served(self, name: str) -> tuple[Path, Path]:
        """Return the key and the full chain that servers read."""
        match self.client:
            case "acme.sh":
                return self.base / "web" / f"{name}.key", self.base / "web" / f"{name}.pem"
            case "lego":
                folder = self.base / "certificates"
                return folder / f"{name}.key", folder / f"{name}.crt"
        folder = self.base / "certs" / name
        return folder / "privkey.pem", folder / "fullchain.pem"

    def chain(self, path: Path) -> list[bytes]:
        return [c.der for c in from_pem(path.read_bytes())]

    def plan(self, context: Context) -> tuple[AdoptionRequest, AdoptionPlan]:
        wanted = AdoptionRequest(
            self.base,
            root=self.folder / "root",
            keep_timer=self.client == "acme.sh",
            client=self.client,
        )
        planned = adopt.plan(context, wanted)
        program = str(self.folder / "systemctl")
        schedules = tuple(
            Schedule(s.source, (program, "disable"), s.todo, (program, "enable"), s.command)
            if s.disable
            else s
            for s in planned.schedules
        )
        assert schedules or not self.timer.exists()
        return wanted, replace(planned, schedules=schedules)

    def require_readable(self) -> None:
        for name in NAMES:
            key, chain = self.served(name)
            build_bundle(key.read_bytes(), self.chain(chain))

    def require_restored(self, before: dict[str, bytes]) -> None:
        assert content(self.base) == before
        assert self.timer.is_symlink() or self.timer.is_file(), "the timer is not enabled"
        assert self.active() == []
        assert not list((self.folder / "acme").glob("*-takeover.json"))


def deaths(folder: str, stride: int, client: str) -> int:
    """Kill a takeover and its undo at every ``stride``-th step, and return the number of kills."""
    place = ClientPlace(Path(folder), client)
    with without_sync():
        place.prepare()
        before = content(place.base)
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
                    assert place.active() == sorted(NAMES)
                    assert place.timer.exists() == (client == "acme.sh")
                    place.require_readable()
                if died or act == place.take_over:
                    place.undo()
                place.require_restored(before)
                kills += died
                if not died:
                    break
        return kills


JOBS = {"deaths": deaths}
