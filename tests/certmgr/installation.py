"""A provider who runs certmgr: a configuration, a client with a site, a contact, a mail server.

Mail server and site run once per worker, and databases are copied from one that was made once.
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
timeout = 10.0
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
        """Call a command. ``expect``: its exit code, None for any."""
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
        """Release each notice that is held since its client has not been written to before."""
        held = self.run("notice", "release", "--format", "json").json["held"]
        for row in held:
            self.run("notice", "release", row["cause"])


@dataclass
class Base:
    """What the installations of one worker share."""

    root: Authority
    mail: MailServer
    site: Server
    resolver: str
    """A name server that knows no name."""
    databases: dict[str, bytes] = field(default_factory=dict)

    def install(self, folder: Path, state: str) -> Installation:
        """Install a copy. ``state``: "new", or "due" if a notice for Ada is ready to be sent."""
        prepare_file(folder / "x.db")
        (folder / "x.db").write_bytes(self.databases[state])
        self.mail.received.clear()
        self.mail.answers = lambda stage, to: None
        return Installation(folder, self.root, self.mail, self.site, self.resolver)

    def keep(self, state: str, made: Installation) -> None:
        # The file alone is whole: SQLite removed the write-ahead log when it was closed.
        assert list(made.folder.glob("x.db-*")) == []
        self.databases[state] = made.database.read_bytes()


@contextmanager
def base(root: Authority, issuer: Authority, folder: Path) -> Iterator[Base]:
    """Start the servers and make the databases, an hour before the clock of the tests begins."""
    issued = issuer.issue(SHOP, not_before=START - 391 * DAY, not_after=START + 6.5 * DAY)
    site = Server(servers.tls(server_context(issued)))
    try:
        with mail_server(root, folder / "mail") as mail, dns({}) as resolver:
            shared = Base(root, mail, site, resolver)
            clock.reset(START - timedelta(hours=1))
            made = Installation(folder, root, mail, site, resolver)
            owner = ("--client", "1001", "--way", f"email:{ADA}", "--language", "de")
            parties = ("--renews", "client", "--buys", "client", "--hosts", "us")
            made.run("client", "add", "1001", "Rosen GmbH", *parties, "--account-manager", "Grace")
            made.run("contact", "add", "Ada", *owner, "--time-zone", "Europe/Berlin")
            staff = ("--role", "administrator", "--way", f"email:{EVE}")
            made.run("contact", "add", "Eve", *staff)
            parked = ("--client", "1001", "--purpose", "parked")
            made.run("domain", "add", "parked.example.test", *parked)
            shared.keep("new", made)
            made.add_endpoints(SHOP, port=site.port)
            made.run("scan", expect=None)
            made.run("notify", "--queue-only")
            made.release_all()
            shared.keep("due", made)
            clock.reset()
            assert mail.received == []
            yield shared
    finally:
        site.close()
