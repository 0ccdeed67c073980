"""Monday, 08:00: a server has lost its virtual hosts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from tests.campaign import Campaign
from tests.certmgr.scenes.numbers import faulty_names, named_in_digest
from tests.certmgr.scenes.provider import STAFF, Provider, provider
from tests.clock import clock

MONDAY = datetime(2026, 11, 23, 7, tzinfo=UTC)  # 08:00 in Berlin


@pytest.fixture
def place(root: Authority, issuer: Authority, tmp_path: Path) -> Iterator[Provider]:
    with provider(root, issuer, tmp_path, MONDAY - timedelta(days=3)) as made:
        yield made


@pytest.mark.campaign
def test_a_lost_server_is_one_cause_and_one_alarm_and_no_client_is_mailed(
    place: Provider, campaign: Campaign
) -> None:
    count = campaign.size("virtual hosts", 21, 212)
    hosts = [f"shop{n}.example.test" for n in range(count)]
    for n in range(0, count, 3):
        place.add(f"{1000 + n}", *hosts[n : n + 3], renews="us", buys="us")
    for host in hosts:
        place.serve(host)
    place.run("scan")
    place.run("notify")
    clock.reset(MONDAY)
    place.mail.received.clear()

    kept = dict(place.sites)
    place.sites.clear()
    place.run("run", expect=None)
    causes = place.run("status", "--causes", "--format", "json", expect=None).json["causes"]
    assert len({(c["kind"], c["where"]) for c in causes}) == 1, causes
    assert {c["endpoints"] for c in causes} == {count}
    clients = [f"{1000 + n}" for n in range(0, count, 3)]
    counted = faulty_names(place, clients)
    assert set(counted.values()) == {count}, counted
    (digest,) = [m.text for m in place.mail.to(STAFF) if "to assign" in m.subject]
    assert named_in_digest(digest) == {causes[0]["code"]: count}, digest
    to_staff = [m.subject for m in place.mail.to(STAFF)]
    assert len([s for s in to_staff if "New fault on our side" in s]) == 1, to_staff
    assert {m.to for m in place.mail.received} == {STAFF}

    until = (MONDAY + timedelta(hours=4)).strftime("%Y-%m-%dT%H:%M")
    reference = place.run(
        "incident",
        "open",
        "--server",
        "web3",
        "--until",
        until,
        "--reason",
        "disk failure",
        "--format",
        "json",
    ).json["reference"]
    assert place.run("case", "list", "--format", "json").json["cases"] == [], "nothing is bought"
    assert place.incident(reference)["left"] == count

    clock.advance(minutes=14)
    place.sites.update(kept)
    place.run("scan", "--server", "web3")
    place.run("run", expect=None)
    shown = place.incident(reference)
    assert (shown["left"], shown["closed"] is not None) == (0, True)
    counted = faulty_names(place, clients)
    assert set(counted.values()) == {0}, counted
    assert {m.to for m in place.mail.received} == {STAFF}, "no client was mailed"
