"""A provider with clients, servers, a CA and a mail server, on one clock that tests move."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL

from certmgr.demo import servers
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.demo.pages import page, secure
from certmgr.demo.servers import Server, server_context
from inventory.store import accounts, clients, contacts, domains, endpoints, lineages
from inventory.store import servers as machines
from inventory.targets import Target
from tests import program
from tests.campaign import UNREACHED
from tests.certmgr.acme.inprocess import Ca, running
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran
from tests.servers.mail import MailServer, mail_server
from tests.servers.ports import free_port
from tests.servers.real import dns

STAFF = "night@provider.example.test"


class Sites(dict[str, SSL.Context]):
    """The virtual hosts of a server: name -> context.

    A name with a lineage is served from its live directory, as a server reads it after a reload.
    """

    def __init__(self, live: Path) -> None:
        super().__init__()
        self._live = live
        self._read: dict[tuple[str, int], SSL.Context] = {}

    def get(self, name: str, default: Any = None) -> Any:
        chain = self._live / name / "fullchain.pem"
        if not chain.exists():
            return super().get(name, default)
        key = (name, chain.stat().st_mtime_ns)
        if key not in self._read:
            context = SSL.Context(SSL.TLS_SERVER_METHOD)
            context.use_certificate_chain_file(str(chain))
            context.use_privatekey_file(str(chain.with_name("privkey.pem")))
            self._read[key] = context
        return self._read[key]


@dataclass
class Provider:
    """The installation.

    Attributes:
        folder: Its directory.
        issuer: The CA whose certificates clients buy.
        ca: The ACME CA.
        mail: The mail server.
        sites: What its web server serves.
        port: The HTTPS port of the web server.
        names: Name -> addresses, as the name server answers.
    """

    folder: Path
    issuer: Authority
    ca: Ca
    mail: MailServer
    sites: Sites
    port: int
    names: dict[str, Sequence[str]]
    environment: dict[str, str] = field(default_factory=dict)
    served: dict[str, IssuedCertificate] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        return self.folder / "x.db"

    def run(self, *arguments: str, expect: int | None = 0) -> Ran:
        """Run a command. ``expect``: its exit code, None for any."""
        options = ("--config", str(self.folder / "c.toml"), "--database", str(self.database))
        ran = program.run((*options, *arguments), clock, environment=self.environment)
        assert expect is None or ran.code == expect, (arguments, ran.code, ran.out, ran.err)
        return ran

    def add(
        self,
        number: str,
        *names: str,
        zone: str = "Europe/Berlin",
        language: str = "en",
        **parties: str,
    ) -> None:
        """Add a client with a contact, and its sites on the server ``web3``."""
        database = open_sqlite(self.database)
        with database.write(clock()) as tx:
            given = {"hosts": "us", "dns": "us", "buys": "client", "renews": "client"} | parties
            clients.add(
                tx,
                {"number": number, "name": f"Client {number}", "account_manager": "Grace"} | given,
            )
            person = {"name": f"Owner {number}", "language": language, "time_zone": zone}
            contacts.add(tx, number, person, (f"email:owner@c{number}.example.test",))
        database.close()
        for name in names:
            self.add_site(number, name)

    def add_site(self, number: str, name: str) -> None:
        """Add a site of a client on the server ``web3``."""
        database = open_sqlite(self.database)
        with database.write(clock()) as tx:
            domains.add(tx, name, {"client": number, "server": "web3"})
            # Without a question to the name server, which is a thread of this process: on a busy
            # machine it answers too late, and some names would stay undetermined.
            endpoints.edit(tx, Target(name), {"port": self.port, "addresses": ("127.0.0.1",)})
        database.close()
        self.names[name] = ("127.0.0.1",)

    def serve(self, *names: str, days: int = 60, authority: Authority | None = None) -> None:
        """Serve a new certificate for the names."""
        issued = (authority or self.issuer).issue(
            *names,
            not_before=clock() - timedelta(days=30),
            not_after=clock() + timedelta(days=days),
        )
        for name in names:
            self.sites[name] = server_context(issued)
            self.served[name] = issued

    def automate(self, number: str, name: str) -> None:
        """Add a lineage for a name, and let it issue."""
        database = open_sqlite(self.database)
        with database.write(clock()) as tx:
            account = accounts.find(tx.conn, "test")
            values = {
                "account_id": account.id,
                "key_type": "ec-p256",
                "solver": "web",
                "targets": ("reload",),
            }
            lineages.add(tx, name, number, [name], values)
        database.close()

    def live_serial(self, name: str) -> str:
        """Return the serial number of what a lineage serves."""
        pem = (self.folder / "acme" / "live" / name / "fullchain.pem").read_bytes()
        return f"{x509.load_pem_x509_certificate(pem).serial_number:x}"

    def incident(self, reference: str) -> Mapping[str, Any]:
        """Return ``incident show`` as JSON."""
        found = self.run("incident", "show", reference, "--format", "json", expect=None)
        shown: Mapping[str, Any] = json.loads(found.out)
        return shown


@contextmanager
def provider(
    root: Authority, issuer: Authority, folder: Path, start: datetime
) -> Iterator[Provider]:
    """Install a provider whose clock stands at ``start``."""
    clock.reset(start)
    names: dict[str, Sequence[str]] = {}
    sites = Sites(folder / "acme" / "live")
    # Valid by the clock of the scene, and not by that of the machine.
    fallback = issuer.issue(
        "web3.hosting.test",
        not_before=start - timedelta(days=30),
        not_after=start + timedelta(days=300),
    )
    default = server_context(fallback)
    # This makes the context choose by name; the handler sends a page to whom asks for one.
    servers.tls(default, sites)
    site = Server(secure(default, lambda host, path: page(host)))
    ca = Ca(clock, timedelta(days=45))
    try:
        with (
            mail_server(root, folder / "mail") as mail,
            dns(names) as resolver,
            running(ca, folder / "ca"),
        ):
            (folder / "root.pem").write_bytes(root.pem + ca.root.pem)
            _write_config(folder, ca, resolver)
            made = Provider(folder, issuer, ca, mail, sites, site.port, names)
            made.environment = {
                "SSL_CERT_FILE": str(folder / "root.pem"),
                "MAIL_URL": mail.url,
            }
            made.run("account", "add", "test", "--agree", "--contact", "ca@provider.example")
            made.run(
                "contact",
                "add",
                "Night Desk",
                "--role",
                "administrator",
                "--method",
                f"email:{STAFF}",
                "--time-zone",
                "Europe/Berlin",
            )
            database = open_sqlite(made.database)
            with database.write(clock()) as tx:
                machines.add(tx, {"name": "web3", "addresses": ["127.0.0.1"], "hosts": "us"})
            database.close()
            yield made
    finally:
        site.close()


def _write_config(folder: Path, ca: Ca, resolver: str) -> None:
    (folder / "c.toml").write_text(f"""
[provider]
name = "Example Hosting"
time_zone = "Europe/Berlin"
[trust]
ca_files = ["{folder / "root.pem"}"]
[network]
allow = ["127.0.0.0/8"]
provider = ["127.0.0.0/24"]
[scan]
resolvers = ["{resolver}"]
timeout = {UNREACHED}
# The name server is a thread of this process, and answers too late on a busy machine.
dane = false
[http]
enabled = false
[cases]
keys = "{folder / "keys"}"
[notify]
mail = "env:MAIL_URL"
rate = 0.0
timeout = 60.0
opens = "07:30"
closes = "18:00"
[acme]
directory = "{folder / "acme"}"
default_account = "test"
default_solver = "web"
[acme.ca.test]
directory = "{ca.directory}"
ca_file = "{ca.ca_file}"
internal = true
[acme.solver.web]
kind = "standalone"
address = "127.0.0.1"
port = {free_port()}
[acme.target.reload]
kind = "reload"
reload = ["/bin/true"]
settle = 0.0
""")
