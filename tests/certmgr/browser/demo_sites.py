"""The sites of the demonstration (``certmgr demo``), as situations."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.demo.servers import ConnectionHandler
from certmgr.demo.sites import DemoSites, open_sites
from inventory.clock import system_clock
from tests.certmgr.browser.pki import Trust
from tests.certmgr.browser.serving import TO_HTTPS, Site
from tests.certmgr.browser.situations import Group, Situation

GROUP = Group("demo-sites")
# It sends HSTS, and redirects back to plain HTTP.
_LOOP = "alt.hotel-seeblick.test"


@lru_cache(maxsize=1)
def _opened() -> DemoSites:
    """Open the sites, once per process. Their threads end with it."""
    demo = open_sites(system_clock)
    _speak_tls_on_the_plain_port(demo, _LOOP)
    return demo


def _speak_tls_on_the_plain_port(demo: DemoSites, host: str) -> None:
    """Serve a site on the port of plain HTTP too, to clients that speak TLS.

    On the usual ports a browser that remembers HSTS goes from port 80 to 443. Here it keeps the
    port, and has to meet the same site there.
    """
    secure_port = next(s.port for s in demo.sites if s.host == host)
    secure = next(s for s in demo.servers if s.port == secure_port)
    for server in demo.servers:
        if server.port == demo.http_port:
            server.talk = _by_first_byte(secure.talk, server.talk)


def _by_first_byte(secure: ConnectionHandler, plain: ConnectionHandler) -> ConnectionHandler:
    def talk(sock: socket.socket) -> None:
        handshake = sock.recv(1, socket.MSG_PEEK) == b"\x16"
        (secure if handshake else plain)(sock)

    return talk


@dataclass(frozen=True)
class DemoSituation(Situation):
    """A site of the demonstration, which has separate servers and a separate CA."""

    @property
    def trust(self) -> tuple[Trust, ...]:
        """The CA of the demonstration."""
        return (Trust(_opened().root.certificate.public_bytes(Encoding.DER)),)


@contextmanager
def served_demo(situations: Sequence[Situation]) -> Iterator[list[Site]]:
    """Return the sites of situations. Their servers run until the end of the process."""
    demo = _opened()
    by_host = {s.host: s for s in demo.sites}
    yield [
        Site(
            s.host,
            by_host[s.host].port,
            demo.http_port,
            [x for x in demo.servers if x.port == by_host[s.host].port],
        )
        for s in situations
    ]


_SITES = (
    "www.blumen-meier.test",
    "shop.blumen-meier.test",
    "rosen.blumen-meier.test",
    "tulpen.blumen-meier.test",
    "nelken.blumen-meier.test",
    "xn--grten-gra.blumen-meier.test",
    "www.hotel-seeblick.test",
    "booking.hotel-seeblick.test",
    "menu.hotel-seeblick.test",
    "rooms.hotel-seeblick.test",
    "www.kanzlei-nguyen.test",
    "akten.kanzlei-nguyen.test",
    "neu.kanzlei-nguyen.test",
    "2027.kanzlei-nguyen.test",
    "mandat.kanzlei-nguyen.test",
    "mail.kanzlei-nguyen.test",
    "kunden.blumen-meier.test",
    "fotos.blumen-meier.test",
    "blumen-meier.test",
    "kasse.hotel-seeblick.test",
    _LOOP,
    "schutz.kanzlei-nguyen.test",
)


def _add(host: str, scheme: str) -> None:
    GROUP.situations.append(
        DemoSituation(
            name=host,
            group=GROUP.name,
            host=host,
            build=lambda _: None,
            plain=TO_HTTPS,
            scheme=scheme,
            aliases=tuple(s for s in _SITES if s != host),
            silent=host.startswith("akten."),
        )
    )


# Browsers open a name over plain HTTP if nothing listens for HTTPS.
_PLAIN_ONLY = "kasse.hotel-seeblick.test"
for _host in _SITES:
    _add(_host, "http" if _host == _PLAIN_ONLY else "https")
