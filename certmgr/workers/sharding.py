"""How a scan is divided into shards. Pure.

An address belongs to one shard at a time, so the limits per address hold across workers without a
shared counter: each worker applies them to its own shard. An address with more endpoints than a
shard holds gets several shards with the same turn, which the queue runs one after the other. The
address of an endpoint that was never reached is unknown; shards of such endpoints divide the limits
by the number of workers instead.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from inventory.records import PlannedShard
from inventory.vocabulary import ShardRole
from inventory.zone_names import DEFAULT_ZONE


def plan_shards(
    order: Sequence[int], addresses: Mapping[int, str], *, size: int, workers: int
) -> list[PlannedShard]:
    """Divide endpoints into shards.

    Args:
        order: Ids of endpoints. Those that were not attempted for the longest time come first.
        addresses: The last known address by id.
        size: The most endpoints of a shard.
        workers: The number of workers that may scan at the same time.
    """
    groups: dict[str, list[int]] = {}
    unknown: list[int] = []
    for key in order:
        address = addresses.get(key)
        if address is None:
            unknown.append(key)
        else:
            groups.setdefault(address, []).append(key)
    planned: list[PlannedShard] = []
    packed: list[int] = []
    # A dictionary keeps its order, so shards begin with what was not attempted for longest.
    for address, ids in groups.items():
        if len(ids) > size:
            planned += [
                PlannedShard(endpoints=tuple(part), turn=f"address {address}")
                for part in _parts(ids, size)
            ]
            continue
        # A group is never divided here, because its address belongs to one shard.
        if len(packed) + len(ids) > size:
            planned.append(PlannedShard(endpoints=tuple(packed)))
            packed = []
        packed += ids
    if packed:
        planned.append(PlannedShard(endpoints=tuple(packed)))
    # Without a live worker, the first one that starts has the whole limit.
    share = max(1, workers)
    planned += [PlannedShard(endpoints=tuple(part), share=share) for part in _parts(unknown, size)]
    return planned


def zones_to_visit(
    order: Sequence[int],
    assigned: Mapping[int, tuple[str, ...]],
    internal: Collection[int],
    different: Mapping[int, tuple[str, ...]],
    wanted: Sequence[str],
    existing: Sequence[str],
) -> dict[int, tuple[str, ...]]:
    """Return endpoint id -> the zones to visit it from; the first gives its state.

    Args:
        order: Ids of endpoints.
        assigned: The zones of endpoints with an assignment.
        internal: Endpoints whose name only their zones reach.
        different: The zones that an open difference names. They are asked again, so that the
            difference ends when they agree.
        wanted: Zones for a second opinion of each endpoint.
        existing: All zones.
    """
    found = {}
    for key in order:
        zones = assigned.get(key, (DEFAULT_ZONE,))
        if key not in internal:
            zones = (*zones, *different.get(key, ()), *wanted)
        known = tuple(dict.fromkeys(z for z in zones if z in existing))
        found[key] = known or (DEFAULT_ZONE,)
    return found


def plan_zones(
    zones: Mapping[int, tuple[str, ...]],
    addresses: Mapping[int, str],
    *,
    size: int,
    workers: Mapping[str, int],
) -> list[PlannedShard]:
    """Divide endpoints into shards of the zones that visit them.

    Several zones may visit an address at the same time. Each has its part of the limits, so that
    they hold for all zones together.

    Args:
        zones: Endpoint id -> the zones to visit it from, in the order of visits.
        addresses: The last known address by id.
        size: The most endpoints of a shard.
        workers: The number of workers that may scan at the same time, by zone.
    """
    groups: dict[tuple[str, ShardRole], list[int]] = {}
    for key, visiting in zones.items():
        for place, zone in enumerate(visiting):
            role = ShardRole.FURTHER if place else ShardRole.FIRST
            groups.setdefault((zone, role if len(visiting) > 1 else ShardRole.ONLY), []).append(key)
    involved = {zone for zone, _ in groups}
    planned = []
    for (zone, role), order in groups.items():
        total = sum(workers.get(z, 0) for z in involved)
        for shard in plan_shards(order, addresses, size=size, workers=total):
            # A shard of an unknown address has its part of the limits already.
            share = shard.share if shard.share > 1 else len(involved)
            # A zone without workers must not keep its turn from the shards of another one.
            turn = shard.turn and f"{shard.turn} from {zone}"
            planned.append(replace(shard, zone=zone, role=role, share=share, turn=turn))
    return planned


def _parts(ids: Sequence[int], size: int) -> list[Sequence[int]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
