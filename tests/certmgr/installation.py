"""An installation of certmgr: configuration, database, a client with a site, and a mail server.

Mail server and site are started once per worker, and each test gets a copy of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from inventory.db.database import prepare_file
from inventory.store import domains, endpoints
from inventory.targets import Target
from tests import program
from tests.campaign import UNREACHED
from tests.clock import START, clock
from tests.databases import open_sqlite
from tests.program import Ran
from tests.servers.mail import MailServer, mail_server
from tests.servers.real import dns

DAY = timedelta(days=1)
ADA = "ada@rosen.example.test"
EVE = "eve@provider.example.test"
SHOP = "shop.example.test"


@dataclass
class Installation:
    """A folder with a configuration and a database, and the command line that uses them."""

    folder: Path
    root: Authority
    mail: MailServer
    site: Server
    """Serves a certificate for SHOP that ends in six days."""
    resolver: str
    site_url: str = ""

    def __post_init__(self) -> None:
        (self.folder / "root.pem").write_bytes(self.root.pem)
        self.config()

    @property
    def database(self) -> Path:
        return self.folder / "x.db"

    @property
    def options(self) -> tuple[str, ...]:
        """The options of each command."""
        return ("--config", str(self.folder / "certmgr.toml"), "--database", str(self.database))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SSL_CERT_FILE": str(self.folder / "root.pem"),
            "MAIL_URL": self.mail.url,
            "CERTMGR_SCAN_RESOLVERS": self.resolver,
        }

    def config(self, notify: str = "", mail: str = "env:MAIL_URL") -> None:
        """Write the configuration. ``notify``: further lines of its section."""
        (self.folder / "certmgr.toml").write_text(f"""
[provider]
name = "Example Hosting"
[trust]
ca_files = ["{self.folder / "root.pem"}"]
[network]
allow = ["127.0.0.0/8"]
[scan]
per_address = 0
rate = 0.0
timeout = {UNREACHED}
[http]
enabled = false
[notify]
mail = "{mail}"
rate = 0.0
timeout = 60.0
answer = "one working day"
{notify}
""")

    def run(
        self,
        *arguments: str,
        input: bytes | None = None,
        expect: int | None = 0,
        **environment: str,
    ) -> Ran:
        """Run a command. ``expect``: its exit code, None for any."""
        ran = program.run(
            (*self.options, *arguments),
            clock,
            input=input,
            environment=self.environment | environment,
        )
        assert expect is None or ran.code == expect, (ran.out, ran.err)
        return ran

    def add_endpoints(
        self,
        *hosts: str,
        port: int,
        addresses: tuple[str, ...] = ("127.0.0.1",),
    ) -> None:
        """Add domains of the client. The parked domain is no longer scanned."""
        database = open_sqlite(self.database)
        with database.write() as tx:
            for host in hosts:
                domains.add(tx, host, {"client": "1001"})
                changes = {"port": port, "addresses": list(addresses)}
                endpoints.edit(tx, Target(host), changes)
            endpoints.retire(tx, Target("parked.example.test"))
        database.close()

    def release_all(self) -> None:
        """Release all notices that are held because their client was not notified before."""
        held = self.run("notice", "release", "--format", "json").json["held"]
        for row in held:
            self.run("notice", "release", row["cause"])


@dataclass
class Base:
    """The shared parts of the installations of one worker."""

    root: Authority
    mail: MailServer
    site: Server
    resolver: str
    site_url: str = ""
    """The address of a name server without any names."""
    databases: dict[str, bytes] = field(default_factory=dict)

    def install(self, folder: Path, state: str) -> Installation:
        """Install a copy. ``state``: "new", or "due" if a notice for Ada is ready to be sent."""
        prepare_file(folder / "x.db")
        (folder / "x.db").write_bytes(self.databases[state])
        self.mail.received.clear()
        self.mail.answers = lambda stage, to: None
        return Installation(folder, self.root, self.mail, self.site, self.resolver)

    def keep(self, state: str, installation: Installation) -> None:
        """Keep the database of an installation for :meth:`install`."""
        # The file is complete: SQLite removes the write-ahead log when the database is closed.
        assert list(installation.folder.glob("x.db-*")) == []
        self.databases[state] = installation.database.read_bytes()


@contextmanager
def base(root: Authority, issuer: Authority, folder: Path) -> Iterator[Base]:
    """Start the servers and create the databases, one hour before the start of the tests."""
    issued = issuer.issue(SHOP, not_before=START - 391 * DAY, not_after=START + 6.5 * DAY)
    site = Server(servers.tls(server_context(issued)))
    try:
        with mail_server(root, folder / "mail") as mail, dns({}) as resolver:
            shared = Base(root, mail, site, resolver)
            clock.reset(START - timedelta(hours=1))
            installation = Installation(folder, root, mail, site, resolver)
            owner = ("--client", "1001", "--method", f"email:{ADA}", "--language", "de")
            parties = ("--renews", "client", "--buys", "client", "--hosts", "us")
            installation.run(
                "client", "add", "1001", "Rosen GmbH", *parties, "--account-manager", "Grace"
            )
            installation.run("contact", "add", "Ada", *owner, "--time-zone", "Europe/Berlin")
            staff = ("--role", "administrator", "--method", f"email:{EVE}")
            installation.run("contact", "add", "Eve", *staff)
            parked = ("--client", "1001", "--purpose", "parked")
            installation.run("domain", "add", "parked.example.test", *parked)
            shared.keep("new", installation)
            installation.add_endpoints(SHOP, port=site.port)
            installation.run("scan", expect=None)
            installation.run("notify", "--queue-only")
            installation.release_all()
            shared.keep("due", installation)
            clock.reset()
            assert mail.received == []
            yield shared
    finally:
        site.close()
