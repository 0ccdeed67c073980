"""A server that is down is one cause, and not a missing certificate per name. Pure.

A port that refuses or does not answer does so for all names of its address. If one of them had a
certificate before, the server is down; otherwise HTTPS was perhaps never set up there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from inventory.store.server_faults import NotConnected
from inventory.vocabulary import Actor, Finding, Parties, Severity

# Findings of a port to which no connection succeeds.
NOT_CONNECTED = frozenset(
    {"https-missing", "connection-failed", "connection-timeout", "unreachable"}
)
_SILENT = frozenset({"connection-timeout", "unreachable"})
SERVER_DOWN = "server-down"
"""The ``variant`` of such a finding if the server is down for several names."""


@dataclass(frozen=True, slots=True)
class ServerDown:
    """A port of a server to which no connection succeeds.

    Attributes:
        server: Its name; without one in the inventory, its addresses.
        silent: It does not answer, instead of refusing.
    """

    server: str
    port: int
    silent: bool

    @property
    def location(self) -> str:
        """The server and its port in words."""
        return f"{self.server} port {self.port}"

    def sentence(self, names: int) -> str:
        """Return the cause in one sentence, with the number of names that it affects."""
        what = "does not answer on" if self.silent else "refuses connections on"
        return f"{self.server} {what} {self.port}, {names:,} names"

    def instruction(self) -> str:
        """Return what to do."""
        return (
            f"Start the service on port {self.port} of {self.server}, or open the port in its"
            " firewall. No certificate has to be installed for it."
        )


def servers_down(rows: Iterable[NotConnected]) -> dict[int, ServerDown]:
    """Return endpoint id -> the server that is down, for the endpoints that it affects."""
    groups: dict[tuple[str, int], dict[int, NotConnected]] = {}
    for row in rows:
        # Without a server in the inventory, equal addresses stand for one machine. Each port counts
        # separately: the mail service may be down while the web server works.
        if name := row.server or ", ".join(row.addresses[:3]):
            groups.setdefault((name, row.port), {})[row.endpoint_id] = row
    down: dict[int, ServerDown] = {}
    for (name, port), members in groups.items():
        # One name alone may be the fault of its record. Without any certificate before, HTTPS was
        # never set up, and certificates are indeed missing.
        if len(members) < 2 or not any(m.had_certificate for m in members.values()):
            continue
        server = ServerDown(name, port, all(m.code in _SILENT for m in members.values()))
        down.update(dict.fromkeys(members, server))
    return down


def of_server(finding: Finding, parties: Parties | None) -> Finding:
    """Return the finding of an endpoint whose server is down: the host starts it.

    Args:
        parties: The parties of the endpoint. Without them, the actor stays.
    """
    # A time-out that no later run has confirmed may be a fault of the network between.
    if finding.code not in NOT_CONNECTED or finding.severity == Severity.UNDETERMINED:
        return finding
    changed = replace(finding, evidence=finding.evidence | {"variant": SERVER_DOWN})
    ours = parties is not None and (
        parties.hosts == "us" or (parties.hosts == "panel" and parties.on_our_server)
    )
    return replace(changed, actor=Actor.PROVIDER, outcome=None) if ours else changed
