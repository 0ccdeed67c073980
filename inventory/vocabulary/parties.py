"""The parties that host, buy and renew for a domain. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Party(StrEnum):
    """Party that hosts, runs the DNS of, buys or renews for a domain. ``us`` is the provider."""

    US = "us"
    CLIENT = "client"
    PANEL = "panel"
    CDN = "cdn"


# The same four columns in client, server and domain, from which the parties are resolved.
PARTY_FIELDS = ("hosts", "dns", "buys", "renews")


@dataclass(frozen=True, slots=True)
class Parties:
    """Responsible parties of a domain, with inheritance resolved. None means not recorded."""

    hosts: str | None = None
    dns: str | None = None
    buys: str | None = None
    renews: str | None = None
    on_our_server: bool = False

    def __reduce__(
        self,
    ) -> "tuple[type[Parties], tuple[str | None, str | None, str | None, str | None, bool]]":
        return Parties, (self.hosts, self.dns, self.buys, self.renews, self.on_our_server)
