"""The sites of the demonstration, in an inventory and scanned."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from certmgr.demo.sites import DemoSites
from inventory.db.database import Database
from tests.campaign import UNREACHED
from tests.program import Ran


@dataclass(slots=True)
class Demo:
    """The sites, and the inventory that was scanned."""

    sites: DemoSites
    database: Database
    folder: Path

    def copied(self, folder: Path) -> Demo:
        """Return the same sites with a copy of the inventory in a new folder."""
        folder.mkdir()
        shutil.copy(self.folder / "root.pem", folder)
        with (
            closing(sqlite3.connect(self.folder / "demo.db")) as source,
            closing(sqlite3.connect(folder / "demo.db")) as target,
        ):
            source.backup(target)
        return Demo(self.sites, self.database, folder)

    def configuration(self) -> Path:
        path = self.folder / "demo.toml"
        path.write_text(
            f"[scan]\ntimeout = {UNREACHED}\nper_address = 0\nrate = 0.0\n[trust]\nca_files ="
            f' ["{self.folder}/root.pem"]\n[http]\nport = {self.sites.http_port}\nper_address ='
            " 0\nrate = 0.0\n"
        )
        return path


Run = Callable[..., Ran]


def call(certmgr: Run, demo: Demo, *arguments: str) -> Ran:
    """Call the program with the inventory and the name resolution of the sites."""
    resolves = [
        f"--resolve={host}:{port}:{','.join(a)}"
        for (host, port), a in demo.sites.overrides().items()
    ]
    return certmgr(
        "--config",
        str(demo.configuration()),
        "--database",
        str(demo.folder / "demo.db"),
        *arguments,
        *resolves,
    )
