"""Live checks from the vantage points that reach the endpoints.

A name that only an office reaches has no address elsewhere, or another one. What this machine sees
of it proves nothing, so a machine of its zone probes it: this one, if its configuration describes
the zone, or a worker.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.config.zones import in_zone
from certmgr.inspection.live_check import PROFILES, LiveCheckTarget, check_live
from certmgr.inspection.verification import Observation
from inventory.errors import CertmgrError
from inventory.store.zones import ZonesOfHosts
from inventory.targets import Target
from inventory.vocabulary import CallKind
from inventory.zone_names import DEFAULT_ZONE

Overrides = Mapping[tuple[str, int], tuple[str, ...]]
Prober = Callable[[Settings, Sequence[LiveCheckTarget], Overrides], list[Observation]]


def with_zones(targets: Sequence[LiveCheckTarget], zones_of: ZonesOfHosts) -> list[LiveCheckTarget]:
    """Return the targets with their zones. Pure."""
    found = []
    for target in targets:
        visiting = zones_of.visiting(target.target.host, target.target.port)
        # This machine is as good as any other zone of an endpoint, and needs no other machine.
        zone = DEFAULT_ZONE if DEFAULT_ZONE in visiting else visiting[0]
        found.append(replace(target, zone=zone))
    return found


def observe(
    context: Context,
    targets: Sequence[LiveCheckTarget],
    overrides: Overrides | None = None,
    *,
    here: Prober = check_live,
) -> list[Observation]:
    """Probe each target once per key type, from its zone.

    Args:
        context: The configuration, and the workers of other zones.
        targets: The endpoints to probe.
        overrides: Addresses by (host, port) that the caller named; this machine probes those.
        here: Probes from this machine.
    """
    given = overrides or {}
    groups: dict[str, list[LiveCheckTarget]] = {}
    for target in targets:
        named = (target.target.host, target.target.port) in given
        groups.setdefault(DEFAULT_ZONE if named else target.zone, []).append(target)
    observations: list[Observation] = []
    for zone, group in groups.items():
        if zone == DEFAULT_ZONE:
            observations += here(context.settings, group, given)
        else:
            observations += _observe_from(context, zone, group, here)
    return observations


def _observe_from(
    context: Context, zone: str, targets: Sequence[LiveCheckTarget], here: Prober
) -> list[Observation]:
    """Probe targets that this machine does not reach."""
    workers = context.zone_workers
    # A configuration may be the same on all machines, so a worker of the zone comes first.
    if workers is not None and workers.available(zone):
        try:
            result = workers.call(zone, CallKind.LIVE_CHECK, arguments_of(targets))
        except CertmgrError as error:
            return _undetermined(zone, targets, str(error))
        return [_observation(row) for row in result["observations"]]
    if zone in context.settings.zones:
        return here(in_zone(context.settings, zone), targets, {})
    return _undetermined(
        zone, targets, f"only the zone {zone} reaches it, and no worker of this zone runs"
    )


def _undetermined(zone: str, targets: Sequence[LiveCheckTarget], why: str) -> list[Observation]:
    """Return one failed observation per target and key type, so that none counts as live."""
    return [
        Observation(
            host=t.target.host,
            port=t.target.port,
            address=f"the zone {zone}",
            key_type=key_type,
            sha256=None,
            error=why,
            kind="zone",
        )
        for t in targets
        for key_type in PROFILES
    ]


def arguments_of(targets: Sequence[LiveCheckTarget]) -> dict[str, Any]:
    """Return the targets as they travel to a worker."""
    return {
        "targets": [
            {
                "target": _row(t.target),
                "fixed": list(t.fixed),
                "backends": [[server, _row(backend)] for server, backend in t.backends],
            }
            for t in targets
        ]
    }


def _row(target: Target) -> list[Any]:
    return [target.host, target.port, target.protocol]


def check_in_zone(context: Context, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Probe targets for another machine. The configuration of the context is that of the zone."""
    targets = [
        LiveCheckTarget(
            Target(*row["target"]),
            tuple(row["fixed"]),
            tuple((server, Target(*backend)) for server, backend in row["backends"]),
        )
        for row in arguments["targets"]
    ]
    observations = check_live(context.settings, targets)
    return {"observations": [_observed_row(o) for o in observations]}


_FIELDS = ("host", "port", "address", "key_type", "sha256", "error", "backend", "hung", "kind")


def _observed_row(observation: Observation) -> dict[str, Any]:
    values = {name: getattr(observation, name) for name in _FIELDS}
    return {**values, "der": b64encode(observation.der).decode()}


def _observation(row: Mapping[str, Any]) -> Observation:
    values = {name: row[name] for name in _FIELDS}
    return Observation(**values, der=b64decode(row["der"]))
