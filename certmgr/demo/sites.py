"""The sites of the demonstration. Each has one typical state or problem."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from OpenSSL import SSL

from certmgr.demo import servers
from certmgr.demo.authority import Authority, IssuedCertificate, self_signed
from certmgr.demo.pages import PageResponse, Respond, page, plain, redirect, secure
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
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _open_plain(demo: DemoSites) -> None:
    """Open the port of plain HTTP on both loopback addresses."""
    first = Server(plain(demo.respond))
    demo.servers.append(first)
    demo.http_port = first.port
    # Some systems have only one loopback address.
    with contextlib.suppress(OSError):
        demo.servers.append(Server(plain(demo.respond), address="127.0.0.2", port=first.port))


def _served(response: PageResponse) -> Respond:
    return lambda host, path: response


def open_sites(clock: Clock = system_clock) -> DemoSites:
    """Start all sites on free ports of the loopback range.

    Args:
        clock: The clock that dates the certificates.
    """
    root = Authority("Demo Root CA", organisation="certmgr demo", clock=clock)
    now = root.clock().replace(microsecond=0)
    issuer = Authority("Demo Issuing CA", root, organisation="certmgr demo", path_length=0)
    hidden = Authority("Demo Issuing CA 2", root, organisation="certmgr demo", path_length=0)
    demo = DemoSites(root)
    _open_plain(demo)

    def add(
        client: str,
        host: str,
        handler: servers.ConnectionHandler,
        problem: str,
        machine: str,
        purpose: str = "site",
    ) -> DemoSite:
        server = Server(handler)
        demo.servers.append(server)
        demo.sites.append(
            DemoSite(
                client=client,
                host=host,
                port=server.port,
                addresses=("127.0.0.1",),
                problem=problem,
                server=machine,
                purpose=purpose,
            )
        )
        return demo.sites[-1]

    def site(
        issued: IssuedCertificate, response: PageResponse | None = None, **options: Any
    ) -> servers.ConnectionHandler:
        return secure(server_context(issued, **options), _served(response or page("Welcome")))

    add(
        "1001",
        "www.blumen-meier.test",
        site(issuer.issue("www.blumen-meier.test", "blumen-meier.test")),
        "no problem",
        "web1",
    )
    shop = issuer.issue("shop.blumen-meier.test", not_before=now - timedelta(days=85), days=5)
    add("1001", "shop.blumen-meier.test", site(shop), "expires in a few days", "web1")
    flowers = ("rosen.blumen-meier.test", "tulpen.blumen-meier.test", "nelken.blumen-meier.test")
    old = issuer.issue(
        *flowers, not_before=now - timedelta(days=93), not_after=now - timedelta(days=3)
    )
    for flower in flowers:
        add(
            "1001",
            flower,
            site(old),
            "one certificate for three sites, expired three days ago",
            "web1",
        )
    add(
        "1001",
        "gärten.blumen-meier.test".encode("idna").decode(),
        site(self_signed("xn--grten-gra.blumen-meier.test", clock=clock)),
        "self-signed",
        "web1",
    )
    _two_addresses(demo, issuer, "1002", "www.hotel-seeblick.test")
    booking = issuer.issue("buchung.hotel-seeblick.test")
    add(
        "1002",
        "booking.hotel-seeblick.test",
        site(booking),
        "the certificate is for another name",
        "web2",
    )
    menu = hidden.issue("menu.hotel-seeblick.test")
    add(
        "1002",
        "menu.hotel-seeblick.test",
        site(menu, chain=()),
        "the intermediate is not sent",
        "web2",
    )
    rooms = issuer.issue("rooms.hotel-seeblick.test")
    legacy = site(rooms, lowest=SSL.TLS1_VERSION, highest=SSL.TLS1_VERSION)
    add("1002", "rooms.hotel-seeblick.test", legacy, "TLS 1.0 and nothing newer", "web2")
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<h1>It works!</h1>"
    add(
        "1003",
        "www.kanzlei-nguyen.test",
        servers.respond_with(refusal),
        "plain HTTP on the TLS port",
        "web3",
    )
    add(
        "1003",
        "akten.kanzlei-nguyen.test",
        servers.silent,
        "accepts connections and does not respond",
        "web3",
    )
    default = issuer.issue("plesk.provider.test")
    add(
        "1003",
        "neu.kanzlei-nguyen.test",
        site(default),
        "the server does not know the site",
        "web3",
    )
    future = issuer.issue("2027.kanzlei-nguyen.test", not_before=now + timedelta(days=2), days=90)
    add("1003", "2027.kanzlei-nguyen.test", site(future), "not valid yet", "web3")
    demo.sites.append(
        DemoSite(
            client="1003",
            host="mandat.kanzlei-nguyen.test",
            port=_free_port(),
            addresses=("127.0.0.1",),
            problem="nothing listens",
            server="web3",
        )
    )
    add(
        "1003",
        "mail.kanzlei-nguyen.test",
        site(issuer.issue("mail.kanzlei-nguyen.test")),
        "a mail-only name without a page",
        "web3",
        "mail",
    )
    _pages(demo, issuer, add, site)
    return demo


def _pages(
    demo: DemoSites,
    issuer: Authority,
    add: Callable[..., DemoSite],
    site: Callable[..., servers.ConnectionHandler],
) -> None:
    """Add sites whose certificates are valid and whose pages have problems."""

    def valid_site(host: str, response: PageResponse | None = None) -> servers.ConnectionHandler:
        return site(issuer.issue(host), response)

    login = "<form action=/login><input name=user><input type=password name=pw></form>"
    host = "kunden.blumen-meier.test"
    add(
        "1001",
        host,
        valid_site(host, page("Login", login)),
        "a login form over plain HTTP, although HTTPS works",
        "web1",
    )
    demo.plain[host] = page("Login", login, hsts=False)
    host = "fotos.blumen-meier.test"
    mixed = page(
        "Gallery",
        "<script src=http://cdn.example.test/gallery.js></script><img"
        " src=http://cdn.example.test/rose.jpg>",
    )
    add(
        "1001",
        host,
        valid_site(host, mixed),
        "an HTTPS page that loads resources over HTTP",
        "web1",
    )
    host = "blumen-meier.test"
    add(
        "1001",
        host,
        valid_site(
            host, redirect(f"https://www.blumen-meier.test:{demo.sites[0].port}/", hsts=True)
        ),
        "redirects to www",
        "web1",
        "redirect",
    )
    host = "kasse.hotel-seeblick.test"
    demo.sites.append(
        DemoSite(
            client="1002",
            host=host,
            port=_free_port(),
            addresses=("127.0.0.1",),
            problem="a credit card form over HTTP, without HTTPS",
            server="web2",
        )
    )
    demo.plain[host] = page(
        "Checkout", "<form><input name=n autocomplete='billing cc-number'></form>", hsts=False
    )
    host = "alt.hotel-seeblick.test"
    looped = add(
        "1002",
        host,
        valid_site(host, redirect(f"http://alt.hotel-seeblick.test:{demo.http_port}/", hsts=True)),
        "HTTP and HTTPS redirect to each other",
        "web2",
    )
    demo.plain[host] = redirect(f"https://{host}:{looped.port}/")
    host = "schutz.kanzlei-nguyen.test"
    add(
        "1003",
        host,
        valid_site(
            host, PageResponse(403, "checking your browser", (("cf-mitigated", "challenge"),))
        ),
        "a protection service that challenges browsers",
        "web3",
    )


def _two_addresses(demo: DemoSites, issuer: Authority, client: str, host: str) -> None:
    """Add a name on two machines, one of which was forgotten at the last renewal."""
    now = issuer.clock().replace(microsecond=0)
    fresh = issuer.issue(host)
    stale = issuer.issue(host, not_before=now - timedelta(days=88), days=2)
    first = Server(secure(server_context(fresh), _served(page("Hotel"))))
    demo.servers.append(first)
    addresses: tuple[str, ...] = ("127.0.0.1",)
    try:
        demo.servers.append(
            Server(
                secure(server_context(stale), _served(page("Hotel"))),
                address="127.0.0.2",
                port=first.port,
            )
        )
        addresses = ("127.0.0.1", "127.0.0.2")
    except OSError:
        pass  # Some systems have only one loopback address; the site then has one machine.
    demo.sites.append(
        DemoSite(
            client=client,
            host=host,
            port=first.port,
            addresses=addresses,
            problem="two machines, and one was forgotten",
            server="web2",
        )
    )
