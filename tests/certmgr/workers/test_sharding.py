"""Shards: an address belongs to one shard at a time, and no endpoint is lost or taken twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from certmgr.workers.sharding import plan_shards


def test_names_on_one_address_are_in_one_shard() -> None:
    addresses = {1: "a", 2: "b", 3: "a", 4: "b", 5: "a"}
    planned = plan_shards([1, 2, 3, 4, 5], addresses, size=3, workers=4)
    assert [p.endpoints for p in planned] == [(1, 3, 5), (2, 4)]
    assert {(p.turn, p.share) for p in planned} == {(None, 1)}


def test_address_with_more_names_than_a_shard_is_scanned_shard_by_shard() -> None:
    planned = plan_shards(range(5), dict.fromkeys(range(5), "192.0.2.7"), size=2, workers=4)
    assert [p.endpoints for p in planned] == [(0, 1), (2, 3), (4,)]
    assert {(p.turn, p.share) for p in planned} == {("address 192.0.2.7", 1)}


def test_endpoints_that_were_never_reached_share_the_limits_of_their_unknown_addresses() -> None:
    planned = plan_shards([3, 2, 1], {2: "a"}, size=1, workers=4)
    assert [(p.endpoints, p.turn, p.share) for p in planned] == [
        ((2,), None, 1),
        ((3,), None, 4),
        ((1,), None, 4),
    ]
    # Before the first worker has sent a heartbeat, there will be at least one.
    assert plan_shards([3], {}, size=1, workers=0)[0].share == 1


@given(
    st.lists(st.integers(0, 200), unique=True),
    st.dictionaries(st.integers(0, 200), st.sampled_from("abcdefg")),
    st.integers(1, 20),
)
def test_each_endpoint_is_in_one_shard_and_no_address_in_two_that_run_together(
    order: list[int], addresses: dict[int, str], size: int
) -> None:
    planned = plan_shards(order, addresses, size=size, workers=3)
    assert sorted(key for p in planned for key in p.endpoints) == sorted(order)
    assert all(1 <= len(p.endpoints) <= size for p in planned)
    where: dict[str, set[object]] = {}
    for number, shard in enumerate(planned):
        for key in shard.endpoints:
            if key in addresses:
                # Shards with the same turn run one after the other, so they count as one.
                where.setdefault(addresses[key], set()).add(shard.turn or number)
    assert all(len(shards) == 1 for shards in where.values())
