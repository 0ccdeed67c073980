"""How a scan is divided into shards. Pure.

An address belongs to one shard at a time, so the limits per address hold across workers without a
shared counter: each worker applies them to its own shard. An address with more endpoints than a
shard holds gets several shards with the same turn, which the queue runs one after the other. The
address of an endpoint that was never reached is unknown; shards of such endpoints divide the limits
by the number of workers instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inventory.records import PlannedShard


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


def _parts(ids: Sequence[int], size: int) -> list[Sequence[int]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
