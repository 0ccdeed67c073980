"""The sites of the demonstration: each shows one state that an administrator meets."""

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
    """One endpoint of the demonstration: whose, its name, where it is served, and what is the
    matter with it.
    """

    client: str
    host: str
    port: int
    addresses: tuple[str, ...]
    matter: str
    server: str
    purpose: str = "site"


@dataclass(slots=True)
class DemoSites:
    """All sites with their servers and their CA.

    ``http_port``: where every site is asked over plain HTTP. ``plain``: how each answers there.
    """

    root: Authority
    http_port: int = 0
    sites: list[DemoSite] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    plain: dict[str, PageResponse] = field(default_factory=dict)

    def close(self) -> None:
        for server in self.servers:
            server.close()

    def overrides(self) -> dict[tuple[str, int], tuple[str, ...]]:
        """What stands in place of DNS: every site, at both its ports."""
        return {
            (s.host, port): s.addresses for s in self.sites for port in (s.port, self.http_port)
        }

    def respond(self, host: str, path: str) -> PageResponse:
        """Plain HTTP of every site on one machine: to HTTPS, unless the site is one that does
        otherwise.
        """
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _open_plain(street: DemoSites) -> None:
    """One port for plain HTTP, on both addresses."""
    first = Server(plain(street.respond))
    street.servers.append(first)
    street.http_port = first.port
    with contextlib.suppress(OSError):  # a system with one loopback address shows one
        street.servers.append(Server(plain(street.respond), address="127.0.0.2", port=first.port))


def _served(answer: PageResponse) -> Respond:
    return lambda host, path: answer


def open_sites(clock: Clock = system_clock) -> DemoSites:
    """Start every site on a free port of the loopback range.

    Certificates are dated by ``clock``.
    """
    root = Authority("Demo Root CA", organisation="certmgr demo", clock=clock)
    now = root.clock().replace(microsecond=0)
    issuer = Authority("Demo Issuing CA", root, organisation="certmgr demo", path_length=0)
    hidden = Authority("Demo Issuing CA 2", root, organisation="certmgr demo", path_length=0)
    street = DemoSites(root)
    _open_plain(street)

    def add(
        client: str, host: str, talk: servers.Talk, matter: str, machine: str, purpose: str = "site"
    ) -> DemoSite:
        server = Server(talk)
        street.servers.append(server)
        street.sites.append(
            DemoSite(
                client=client,
                host=host,
                port=server.port,
                addresses=("127.0.0.1",),
                matter=matter,
                server=machine,
                purpose=purpose,
            )
        )
        return street.sites[-1]

    def site(
        issued: IssuedCertificate, answer: PageResponse | None = None, **options: Any
    ) -> servers.Talk:
        return secure(server_context(issued, **options), _served(answer or page("Welcome")))

    add(
        "1001",
        "www.blumen-meier.test",
        site(issuer.issue("www.blumen-meier.test", "blumen-meier.test")),
        "all is well",
        "web1",
    )
    shop = issuer.issue("shop.blumen-meier.test", not_before=now - timedelta(days=85), days=5)
    add("1001", "shop.blumen-meier.test", site(shop), "expires in a few days", "web1")
    flowers = ("rosen.blumen-meier.test", "tulpen.blumen-meier.test", "nelken.blumen-meier.test")
    old = issuer.issue(
        *flowers, not_before=now - timedelta(days=93), not_after=now - timedelta(days=3)
    )
    for flower in flowers:
        add("1001", flower, site(old), "one certificate for three, expired three days ago", "web1")
    add(
        "1001",
        "gärten.blumen-meier.test".encode("idna").decode(),
        site(self_signed("xn--grten-gra.blumen-meier.test", clock=clock)),
        "self-signed",
        "web1",
    )
    _two_addresses(street, issuer, "1002", "www.hotel-seeblick.test")
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
        servers.saying(refusal),
        "plain HTTP on the TLS port",
        "web3",
    )
    add("1003", "akten.kanzlei-nguyen.test", servers.silent, "accepts, and says nothing", "web3")
    default = issuer.issue("plesk.provider.test")
    add("1003", "neu.kanzlei-nguyen.test", site(default), "the server has no such site", "web3")
    future = issuer.issue("2027.kanzlei-nguyen.test", not_before=now + timedelta(days=2), days=90)
    add("1003", "2027.kanzlei-nguyen.test", site(future), "not valid yet", "web3")
    street.sites.append(
        DemoSite(
            client="1003",
            host="mandat.kanzlei-nguyen.test",
            port=_free_port(),
            addresses=("127.0.0.1",),
            matter="nothing listens",
            server="web3",
        )
    )
    add(
        "1003",
        "mail.kanzlei-nguyen.test",
        site(issuer.issue("mail.kanzlei-nguyen.test")),
        "a mail-only name: no page is expected",
        "web3",
        "mail",
    )
    _pages(street, issuer, add, site)
    return street


def _pages(
    street: DemoSites,
    issuer: Authority,
    add: Callable[..., DemoSite],
    site: Callable[..., servers.Talk],
) -> None:
    """Sites whose certificates are well, and whose pages are not."""

    def own(host: str, answer: PageResponse | None = None) -> servers.Talk:
        return site(issuer.issue(host), answer)

    login = "<form action=/login><input name=user><input type=password name=pw></form>"
    host = "kunden.blumen-meier.test"
    add(
        "1001",
        host,
        own(host, page("Login", login)),
        "a login form over plain HTTP, and HTTPS works",
        "web1",
    )
    street.plain[host] = page("Login", login, hsts=False)
    host = "fotos.blumen-meier.test"
    mixed = page(
        "Gallery",
        "<script src=http://cdn.example.test/gallery.js></script><img"
        " src=http://cdn.example.test/rose.jpg>",
    )
    add("1001", host, own(host, mixed), "a secure page that loads parts over HTTP", "web1")
    host = "blumen-meier.test"
    add(
        "1001",
        host,
        own(host, redirect(f"https://www.blumen-meier.test:{street.sites[0].port}/", hsts=True)),
        "redirects to www",
        "web1",
        "redirect",
    )
    host = "kasse.hotel-seeblick.test"
    street.sites.append(
        DemoSite(
            client="1002",
            host=host,
            port=_free_port(),
            addresses=("127.0.0.1",),
            matter="a card form over HTTP, and no HTTPS",
            server="web2",
        )
    )
    street.plain[host] = page(
        "Checkout", "<form><input name=n autocomplete='billing cc-number'></form>", hsts=False
    )
    host = "alt.hotel-seeblick.test"
    looped = add(
        "1002",
        host,
        own(host, redirect(f"http://alt.hotel-seeblick.test:{street.http_port}/", hsts=True)),
        "HTTP and HTTPS redirect to each other",
        "web2",
    )
    street.plain[host] = redirect(f"https://{host}:{looped.port}/")
    host = "schutz.kanzlei-nguyen.test"
    add(
        "1003",
        host,
        own(host, PageResponse(403, "checking your browser", (("cf-mitigated", "challenge"),))),
        "a protection service that asks for a browser",
        "web3",
    )


def _two_addresses(street: DemoSites, issuer: Authority, client: str, host: str) -> None:
    """One name on two machines, of which one was forgotten at the last renewal."""
    now = issuer.clock().replace(microsecond=0)
    fresh = issuer.issue(host)
    stale = issuer.issue(host, not_before=now - timedelta(days=88), days=2)
    first = Server(secure(server_context(fresh), _served(page("Hotel"))))
    street.servers.append(first)
    addresses: tuple[str, ...] = ("127.0.0.1",)
    try:
        street.servers.append(
            Server(
                secure(server_context(stale), _served(page("Hotel"))),
                address="127.0.0.2",
                port=first.port,
            )
        )
        addresses = ("127.0.0.1", "127.0.0.2")
    except OSError:
        pass  # a system with one loopback address shows one
    street.sites.append(
        DemoSite(
            client=client,
            host=host,
            port=first.port,
            addresses=addresses,
            matter="two machines, and one was forgotten",
            server="web2",
        )
    )
