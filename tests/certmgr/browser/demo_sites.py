"""The sites of the demonstration (``certmgr demo``), as situations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.demo.sites import DemoSites, open_sites
from inventory.clock import system_clock
from tests.certmgr.browser.pki import Trust
from tests.certmgr.browser.serving import TO_HTTPS, Site
from tests.certmgr.browser.situations import Group, Situation

GROUP = Group("demo-sites")


@lru_cache(maxsize=1)
def _opened() -> DemoSites:
    """Open the sites, once per process. Their threads end with it."""
    return open_sites(system_clock)


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
    "alt.hotel-seeblick.test",
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
