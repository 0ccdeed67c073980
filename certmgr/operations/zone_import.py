"""The names of a zone of the DNS, transferred from a configured name server (``axfr:``)."""

from __future__ import annotations

from certmgr.acme.challenges.solvers.rfc2136 import tsig_key
from certmgr.config.settings import Settings, resolver_parts
from certmgr.net.zone_transfer import host_names
from inventory.errors import UsageError
from inventory.names import normalise
from inventory.text import printable

AXFR = "axfr:"


def transferred_names(settings: Settings, source: str) -> list[str]:
    """Return the names of a zone that have a server.

    Args:
        settings: The configuration, which names the server and its key.
        source: ``axfr:ZONE@SERVER``.

    Raises:
        UsageError: It has another form, or the server is not configured.
        CertmgrError: The zone was not transferred.
    """
    zone_name, _, server = source.removeprefix(AXFR).rpartition("@")
    known = {n: s for n, s in settings.acme.solvers.items() if s.kind == "rfc2136"}
    # Only servers of the configuration are asked: an import must not name a target by itself.
    solver = known.get(server) or next((s for s in known.values() if s.server == server), None)
    if not zone_name or solver is None:
        raise UsageError(
            f"'{printable(source, 100)}' is not a zone of a configured name server",
            "it has the form axfr:ZONE@SERVER, and SERVER is an [acme.solver.NAME] of the kind"
            f" rfc2136; there is {', '.join(sorted(known)) or 'none'}",
            "See certmgr help import.",
        )
    host, port = resolver_parts(solver.server)
    key = tsig_key(solver)
    port_number = solver.port or int(port)
    return list(host_names(normalise(zone_name), host, port_number, key, solver.timeout))
