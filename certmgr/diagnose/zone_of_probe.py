"""From which vantage point a host is diagnosed."""

from __future__ import annotations

from certmgr.config.settings import Settings
from certmgr.diagnose.context import HostContext
from certmgr.inspection.scan_options import ScanOptions
from inventory.errors import CertmgrError
from inventory.names import display
from inventory.targets import Target
from inventory.text import printable
from inventory.zone_names import DEFAULT_ZONE


def zone_of_probe(
    settings: Settings, host: HostContext | None, target: Target, options: ScanOptions
) -> str:
    """Return the zone from which this machine probes a host.

    Raises:
        CertmgrError: Only zones reach it in which this machine is not. What it would see, often a
            missing name, would be sent to the client as a fault of the site.
    """
    # Addresses that the agent named are reached from here, or the agent wants to know that.
    named = (target.host, target.port) in options.overrides
    if host is None or named or DEFAULT_ZONE in host.zones:
        return DEFAULT_ZONE
    known = next((z for z in host.zones if z in settings.zones), None)
    if known is not None:
        return known
    raise CertmgrError(
        f"{printable(display(target.host), 253)} cannot be diagnosed from this machine",
        f"it is visited from {' and '.join(host.zones)} only, and this machine is not there",
        f"Run certmgr diagnose on a machine with [zones.{host.zones[0]}]; what its workers saw last"
        f" is in certmgr domain show {printable(host.domain, 253)}.",
    )
