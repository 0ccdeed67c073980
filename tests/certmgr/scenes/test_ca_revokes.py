"""03:00: a CA revokes serial numbers of many clients by the next night."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from certmgr.demo.authority import Authority
from tests.campaign import Campaign
from tests.certmgr.scenes.numbers import faulty_names, left_in_digest
from tests.certmgr.scenes.provider import STAFF, Provider, provider
from tests.clock import clock

NIGHT = datetime(2026, 11, 25, 2, tzinfo=UTC)  # Wednesday, 03:00 in Berlin
QUARTER = timedelta(minutes=15)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo")


@pytest.fixture
def place(root: Authority, issuer: Authority, tmp_path: Path) -> Iterator[Provider]:
    with provider(root, issuer, tmp_path, NIGHT - timedelta(days=2)) as made:
        yield made


@pytest.mark.campaign
def test_automatic_names_are_done_at_once_and_clients_hear_in_their_morning(
    place: Provider, campaign: Campaign
) -> None:
    automatic = campaign.size("automatic certificates", 4, 39)
    by_us = campaign.size("certificates that we buy", 3, 37)
    by_clients = campaign.size("certificates that clients buy", 4, 38)
    names: dict[str, str] = {}
    zones: dict[str, str] = {}
    number = 0
    for kind, count in (("auto", automatic), ("ours", by_us), ("client", by_clients)):
        for _ in range(count):
            number += 1
            client, name = f"{1000 + number}", f"shop{number}.example.test"
            zone = zones[client] = ZONES[number % 3] if kind == "client" else ZONES[0]
            # Lineages count whatever is recorded: half of these domains are "bought by us".
            buys = "us" if kind == "ours" or (kind == "auto" and number % 2) else "client"
            place.add(client, name, zone=zone, buys=buys, renews=buys)
            names[name] = kind
            if kind == "auto":
                place.automate(client, name)
            else:
                place.serve(name)
    # At any size, more clients are due at once than a run notifies without a confirmation.
    place.environment["CERTMGR_NOTIFY_CONFIRM_ABOVE"] = "1"
    place.run("renew", "--due")
    place.run("scan")
    place.run("notify")
    clock.reset(NIGHT)
    place.mail.received.clear()

    serials = place.folder / "serials.txt"
    revoked = [
        place.live_serial(n) if kind == "auto" else f"{_serial(place, n):x}"
        for n, kind in names.items()
    ]
    serials.write_text("\n".join(revoked))
    until = (NIGHT + timedelta(hours=23)).strftime("%Y-%m-%dT%H:%M")
    opened = place.run(
        "incident",
        "open",
        "--serials",
        str(serials),
        "--until",
        until,
        "--reason",
        "the CA revokes",
        "--format",
        "json",
    ).json
    reference = opened["reference"]
    assert opened["counts"] == {
        "automatic": automatic,
        "ours": by_us,
        "client": by_clients,
        "opened": by_us + by_clients,
    }
    # At 03:00, and not at 08:00: the number is known, so it is confirmed ahead.
    place.run(
        "notify",
        "--allow-clients",
        str(by_us + by_clients),
        "--until",
        until,
        "--reason",
        f"{reference}: the CA revokes",
    )
    staff_at_0415 = None
    mailed: dict[str, datetime] = {}
    # New York is the last to wake: 07:30 there is 10.5 hours later.
    while clock() < NIGHT + timedelta(hours=12):
        place.run("run", expect=None)
        for message in place.mail.received:
            mailed.setdefault(message.to, clock())
        if staff_at_0415 is None and clock() >= NIGHT + timedelta(hours=1, minutes=15):
            staff_at_0415 = len(place.mail.to(STAFF))
            shown = place.incident(reference)["counts"]
            assert shown["automatic"] == {"all": automatic, "done": automatic}
            assert shown["client"]["done"] == 0
            assert staff_at_0415 == 1, [m.subject for m in place.mail.to(STAFF)]
        clock.advance(minutes=25 if clock() < NIGHT + timedelta(hours=1) else 75)
    # The digest of the morning counts what is left as the incident does.
    digests = [
        t for m in place.mail.to(STAFF) if left_in_digest(t := m.text, reference) is not None
    ]
    assert {left_in_digest(t, reference) for t in digests} == {by_us + by_clients}, digests
    assert place.incident(reference)["left"] == by_us + by_clients
    for client, zone in zones.items():
        address = f"owner@c{client}.example.test"
        kind = names[f"shop{int(client) - 1000}.example.test"]
        if kind == "auto":
            assert address not in mailed, "nothing is asked of them"
            continue
        if kind == "client":
            local = mailed[address].astimezone(ZoneInfo(zone))
            assert (local.hour, local.minute) >= (7, 30), (client, local)

    for name, kind in names.items():
        if kind != "auto":
            place.serve(name, days=80)
    place.run("scan")
    place.run("run", expect=None)
    shown = place.incident(reference)
    assert (shown["left"], shown["closed"] is not None) == (0, True)
    assert sum(c["done"] for c in shown["counts"].values()) == automatic + by_us + by_clients
    counted = faulty_names(place, zones)
    assert set(counted.values()) == {0}, counted


def _serial(place: Provider, name: str) -> int:
    certificate = place.served[name].certificate
    return int(certificate.serial_number)
