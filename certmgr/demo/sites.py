"""The sites of the demonstration. Each has one typical state or problem."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from OpenSSL import SSL

from certmgr.demo import servers
from certmgr.demo.authority import Authority, IssuedCertificate, self_signed
from certmgr.demo.pages import PageResponse, page, plain, redirect, secure
from certmgr.demo.servers import Server, server_context
from inventory.clock import Clock, system_clock


@dataclass(frozen=True, slots=True)
class DemoSite:
    """One endpoint of the demonstration.

    Attributes:
        client: The number of the client.
        host: The name.
        port: The TLS port.
        addresses: The addresses that serve it.
        problem: Its state or problem, in words.
        server: The name of the server in the inventory.
        purpose: site, redirect or mail.
    """

    client: str
    host: str
    port: int
    addresses: tuple[str, ...]
    problem: str
    server: str
    purpose: str = "site"


@dataclass(slots=True)
class DemoSites:
    """All sites with their servers and their CA.

    Attributes:
        root: The root CA.
        http_port: The port of plain HTTP, the same for all sites.
        sites: The sites.
        servers: The servers, which :meth:`close` closes.
        plain: The responses over plain HTTP by host. Other sites redirect to HTTPS.
    """

    root: Authority
    http_port: int = 0
    sites: list[DemoSite] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    plain: dict[str, PageResponse] = field(default_factory=dict)

    def close(self) -> None:
        """Close all servers."""
        for server in self.servers:
            server.close()

    def overrides(self) -> dict[tuple[str, int], tuple[str, ...]]:
        """Return the addresses of all sites at both ports, which replace DNS."""
        return {
            (s.host, port): s.addresses for s in self.sites for port in (s.port, self.http_port)
        }

    def respond(self, host: str, path: str) -> PageResponse:
        """Respond over plain HTTP for all sites, by default with a redirect to HTTPS."""
        if host in self.plain:
            return self.plain[host]
        # Sites differ only by the Host header, as on shared hosting.
        port = next((s.port for s in self.sites if s.host == host), None)
        return (
            PageResponse(404, "no such site")
            if port is None
            else redirect(f"https://{host}:{port}{path}")
        )


CLIENTS = (
    ("1001", "Blumen Meier"),
    ("1002", "Hotel Seeblick"),
    ("1003", "Kanzlei Nguyen & Partner"),
)


def _free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as probe:
        # Free now, and not held: the site "nothing listens" needs a port that refuses.
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _open_plain(demo: DemoSites) -> None:
    """Open the port of plain HTTP on both loopback addresses."""
    first = Server(plain(demo.respond))
    demo.servers.append(first)
    # One port for all sites, because certmgr expects plain HTTP on the same port everywhere.
    demo.http_port = first.port
    # Some systems have only one loopback address.
    with contextlib.suppress(OSError):
        demo.servers.append(Server(plain(demo.respond), address="127.0.0.2", port=first.port))


def open_sites(clock: Clock = system_clock) -> DemoSites:
    """Start all sites on free ports of the loopback range.

    Args:
        clock: The clock that dates the certificates.
    """
    builder = _Builder.with_cas(clock)
    _open_plain(builder.demo)
    # Certificates first, then pages: docs and tests refer to sites by their order.
    builder.add_florist()
    builder.add_hotel()
    builder.add_law_firm()
    builder.add_pages_of_florist()
    builder.add_pages_of_hotel()
    builder.add_pages_of_law_firm()
    return builder.demo


@dataclass(frozen=True, slots=True)
class _Builder:
    """Starts the sites of each client.

    Attributes:
        demo: The sites so far.
        issuer: The CA of the sites. Its certificate is sent, or known from other sites.
        hidden: A CA whose certificate no site sends.
        clock: The clock that dates the certificates.
    """

    demo: DemoSites
    issuer: Authority
    hidden: Authority
    clock: Clock

    @classmethod
    def with_cas(cls, clock: Clock) -> _Builder:
        """Return a builder with new CAs."""
        root = Authority("Demo Root CA", organisation="certmgr demo", clock=clock)
        issuer = Authority("Demo Issuing CA", root, organisation="certmgr demo", path_length=0)
        hidden = Authority("Demo Issuing CA 2", root, organisation="certmgr demo", path_length=0)
        return cls(DemoSites(root), issuer, hidden, clock)

    @property
    def _now(self) -> datetime:
        return self.clock().replace(microsecond=0)

    def _add(
        self,
        client: str,
        host: str,
        handler: servers.ConnectionHandler,
        problem: str,
        machine: str,
        purpose: str = "site",
    ) -> DemoSite:
        """Start a site on a port of its server."""
        server = Server(handler)
        self.demo.servers.append(server)
        return self._list(client, host, server.port, problem, machine, purpose)

    def _list(
        self,
        client: str,
        host: str,
        port: int,
        problem: str,
        machine: str,
        purpose: str = "site",
        addresses: tuple[str, ...] = ("127.0.0.1",),
    ) -> DemoSite:
        site = DemoSite(
            client=client,
            host=host,
            port=port,
            addresses=addresses,
            problem=problem,
            server=machine,
            purpose=purpose,
        )
        self.demo.sites.append(site)
        return site

    def _valid(self, host: str, response: PageResponse | None = None) -> servers.ConnectionHandler:
        """Return a server function with a valid certificate."""
        return _site(self.issuer.issue(host), response)

    def add_florist(self) -> None:
        """Add the sites of a client whose certificates we renew."""
        issuer, now = self.issuer, self._now
        host = "www.blumen-meier.test"
        both = issuer.issue(host, "blumen-meier.test")
        self._add("1001", host, _site(both), "no problem", "web1")
        host = "shop.blumen-meier.test"
        shop = issuer.issue(host, not_before=now - timedelta(days=85), days=5)
        self._add("1001", host, _site(shop), "expires in a few days", "web1")
        # One cause with three findings, which status --causes folds into one line.
        flowers = [f"{flower}.blumen-meier.test" for flower in ("rosen", "tulpen", "nelken")]
        old = issuer.issue(
            *flowers, not_before=now - timedelta(days=93), not_after=now - timedelta(days=3)
        )
        problem = "one certificate for three sites, expired three days ago"
        for host in flowers:
            self._add("1001", host, _site(old), problem, "web1")
        # An internationalised name: stored as A-label, shown as U-label.
        host = "gärten.blumen-meier.test".encode("idna").decode()
        own = self_signed(host, clock=self.clock)
        self._add("1001", host, _site(own), "self-signed", "web1")

    def add_hotel(self) -> None:
        """Add the sites of a client who buys certificates."""
        issuer = self.issuer
        self._add_two_addresses("1002", "www.hotel-seeblick.test")
        other = issuer.issue("buchung.hotel-seeblick.test")
        host, problem = "booking.hotel-seeblick.test", "the certificate is for another name"
        self._add("1002", host, _site(other), problem, "web2")
        host = "menu.hotel-seeblick.test"
        # Its CA is not sent by any other site either: a scan could learn it there.
        alone = _site(self.hidden.issue(host), chain=())
        self._add("1002", host, alone, "the intermediate is not sent", "web2")
        host = "rooms.hotel-seeblick.test"
        # A browser refuses it since 2020 (RFC 8996), while old clients still connect.
        legacy = _site(issuer.issue(host), lowest=SSL.TLS1_VERSION, highest=SSL.TLS1_VERSION)
        self._add("1002", host, legacy, "TLS 1.0 and nothing newer", "web2")

    def add_law_firm(self) -> None:
        """Add the sites of a client of whom it is unknown who renews the certificates."""
        refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<h1>It works!</h1>"
        http = servers.respond_with(refusal)
        self._add("1003", "www.kanzlei-nguyen.test", http, "plain HTTP on the TLS port", "web3")
        problem = "accepts connections and does not respond"
        self._add("1003", "akten.kanzlei-nguyen.test", servers.silent, problem, "web3")
        # The certificate of the panel, which a server presents for a name without a site.
        default = self._valid("plesk.provider.test")
        problem = "the server does not know the site"
        self._add("1003", "neu.kanzlei-nguyen.test", default, problem, "web3")
        host = "2027.kanzlei-nguyen.test"
        future = self.issuer.issue(host, not_before=self._now + timedelta(days=2), days=90)
        self._add("1003", host, _site(future), "not valid yet", "web3")
        self._list("1003", "mandat.kanzlei-nguyen.test", _free_port(), "nothing listens", "web3")
        host = "mail.kanzlei-nguyen.test"
        problem = "a mail-only name without a page"
        self._add("1003", host, self._valid(host), problem, "web3", "mail")

    def _add_two_addresses(self, client: str, host: str) -> None:
        """Add a name on two machines, one of which was forgotten at the last renewal."""
        fresh = self.issuer.issue(host)
        stale = self.issuer.issue(host, not_before=self._now - timedelta(days=88), days=2)
        # Both machines need the same port, as two addresses of one name have.
        first = Server(_site(fresh, page("Hotel")))
        self.demo.servers.append(first)
        addresses: tuple[str, ...] = ("127.0.0.1",)
        # Some systems have only one loopback address; the site then has one machine.
        with contextlib.suppress(OSError):
            second = Server(_site(stale, page("Hotel")), address="127.0.0.2", port=first.port)
            self.demo.servers.append(second)
            addresses = ("127.0.0.1", "127.0.0.2")
        problem = "two machines, and one was forgotten"
        self._list(client, host, first.port, problem, "web2", addresses=addresses)

    def add_pages_of_florist(self) -> None:
        """Add a form without encryption, mixed content, and a redirect."""
        login = "<form action=/login><input name=user><input type=password name=pw></form>"
        host = "kunden.blumen-meier.test"
        problem = "a login form over plain HTTP, although HTTPS works"
        self._add("1001", host, self._valid(host, page("Login", login)), problem, "web1")
        # Without HSTS, or a browser that saw the HTTPS page once would never show this one.
        self.demo.plain[host] = page("Login", login, hsts=False)
        host = "fotos.blumen-meier.test"
        mixed = page(
            "Gallery",
            "<script src=http://cdn.example.test/gallery.js></script><img"
            " src=http://cdn.example.test/rose.jpg>",
        )
        problem = "an HTTPS page that loads resources over HTTP"
        self._add("1001", host, self._valid(host, mixed), problem, "web1")
        host = "blumen-meier.test"
        main = f"https://www.blumen-meier.test:{self.demo.sites[0].port}/"
        to_main = self._valid(host, redirect(main, hsts=True))
        self._add("1001", host, to_main, "redirects to www", "web1", "redirect")

    def add_pages_of_hotel(self) -> None:
        """Add a payment form without encryption, and a loop of redirects."""
        host = "kasse.hotel-seeblick.test"
        problem = "a credit card form over HTTP, without HTTPS"
        self._list("1002", host, _free_port(), problem, "web2")
        form = "<form><input name=n autocomplete='billing cc-number'></form>"
        self.demo.plain[host] = page("Checkout", form, hsts=False)
        host = "alt.hotel-seeblick.test"
        back = redirect(f"http://{host}:{self.demo.http_port}/", hsts=True)
        problem = "HTTP and HTTPS redirect to each other"
        looped = self._add("1002", host, self._valid(host, back), problem, "web2")
        self.demo.plain[host] = redirect(f"https://{host}:{looped.port}/")

    def add_pages_of_law_firm(self) -> None:
        """Add a page that only browsers get, so that its state is undetermined."""
        host = "schutz.kanzlei-nguyen.test"
        challenge = PageResponse(403, "checking your browser", (("cf-mitigated", "challenge"),))
        problem = "a protection service that challenges browsers"
        self._add("1003", host, self._valid(host, challenge), problem, "web3")


def _site(
    issued: IssuedCertificate, response: PageResponse | None = None, **options: Any
) -> servers.ConnectionHandler:
    """Return a server function for HTTPS with one page."""
    answer = response or page("Welcome")
    return secure(server_context(issued, **options), lambda host, path: answer)
