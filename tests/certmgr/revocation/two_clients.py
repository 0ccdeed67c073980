"""Two clients on the command line.

Each serves a revoked certificate and announces another one by TLSA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from certmgr.demo.authority import IssuedCertificate
from inventory.db.database import Database
from tests.certmgr.net.server import NameServer
from tests.certmgr.revocation.files import Files
from tests.program import Ran

HOSTS = {"1001": "rose.example.test", "1002": "tulip.example.test"}


@dataclass(slots=True)
class TwoClients:
    """``issued``: the certificate of each client, by its number."""

    run: Callable[..., Ran]
    database: Database
    files: Files
    names: NameServer
    issued: dict[str, IssuedCertificate]
