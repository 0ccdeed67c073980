"""The keys of [zones.NAME]: how this machine reaches the internet from one vantage point."""

from __future__ import annotations

from dataclasses import dataclass

FAMILIES = ("4", "6")


@dataclass(frozen=True, slots=True)
class ZoneSettings:
    """Section [zones.NAME]: a vantage point from which workers of this machine scan.

    What a zone may reach is decided on its machines, and never by a row of the shared database.
    Which endpoints are visited from it stands in the database (certmgr zone assign). An empty key
    has the value of [scan] or [network].

    Attributes:
        families: The IP versions that it may use, "4" and "6".
        sources: Local addresses from which it connects, at most one per IP version.
        resolvers: Addresses of its name servers.
        allow: Private networks that it may connect to.
        controls: Its control targets. If one fails, its results are not used.
    """

    families: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
