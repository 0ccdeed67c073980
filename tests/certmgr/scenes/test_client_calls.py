"""A client calls: her site moved to us five weeks ago, and some of her visitors see a warning."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from inventory.store import endpoints
from inventory.targets import Target
from tests.campaign import Campaign
from tests.certmgr.scenes.numbers import faulty_names, named_in_digest
from tests.certmgr.scenes.provider import STAFF, Provider, provider
from tests.clock import clock
from tests.databases import open_sqlite

TODAY = datetime(2026, 11, 25, 10, tzinfo=UTC)  # a Wednesday
SITE, NUMBER = "garten.example.test", "1001"
OWNER = f"owner@c{NUMBER}.example.test"
REFUSED = f"550 5.1.1 <{OWNER}>: no such user"
NAMES_PER_CLIENT = 8


@pytest.fixture
def place(root: Authority, issuer: Authority, tmp_path: Path) -> Iterator[Provider]:
    with provider(root, issuer, tmp_path, TODAY - timedelta(weeks=5)) as made:
        path = tmp_path / "c.toml"
        allowed = '["127.0.0.0/8"]'
        path.write_text(path.read_text().replace(allowed, '["127.0.0.0/8", "::1/128"]'))
        old_host = server_context(
            issuer.issue(
                SITE,
                not_before=TODAY - timedelta(days=80),
                not_after=TODAY - timedelta(days=9),
            )
        )
        old = Server(servers.tls(old_host), "::1", made.port)
        try:
            yield made
        finally:
            old.close()


@pytest.mark.campaign
def test_one_diagnosis_tells_what_happened_among_all_other_names(
    place: Provider, campaign: Campaign
) -> None:
    count = campaign.size("names of other clients", 8, 592)
    place.add(NUMBER, SITE, language="de", dns="client")
    clients = [NUMBER]
    for first in range(0, count, NAMES_PER_CLIENT):
        clients.append(f"{2000 + first}")
        names = [f"site{n}.example.test" for n in range(first, first + NAMES_PER_CLIENT)]
        place.add(clients[-1], *names)
        place.serve(*names, days=120)
    place.serve(SITE, days=120)
    place.run("scan")
    place.run("notify")
    # The record of the old host came back with a change of her DNS, and a certificate ended.
    database = open_sqlite(place.database)
    with database.write(clock()) as tx:
        changes = {"addresses": ("127.0.0.1", "::1")}
        endpoints.edit(tx, Target(SITE, place.port), changes)
    database.close()
    clock.reset(TODAY - timedelta(days=1))
    place.serve("site0.example.test", days=-1)
    place.run("scan", expect=1)
    place.mail.answers = lambda stage, to: REFUSED if to == OWNER else None
    place.environment["CERTMGR_NOTIFY_CONFIRM_ABOVE"] = "10"
    place.run("notify", expect=None)

    clock.reset(TODAY)
    place.run("scan", expect=1)
    url = f"https://{SITE}:{place.port}/"
    shown = place.run("diagnose", url, "--http-port", "9", "--language", "en", expect=1).out
    assert f"delete the AAAA record ::1 of {SITE}" in shown
    assert "not delivered" in shown
    assert "no such user" in shown
    assert "account manager Grace" in shown
    message = place.run("diagnose", url, "--http-port", "9", "--message", expect=1).out
    assert f"Bitte löschen Sie den AAAA-Eintrag ::1 von {SITE}." in message
    counted = faulty_names(place, clients)
    assert set(counted.values()) == {2}, counted
    place.mail.received.clear()
    place.run("notify", expect=None)
    (digest,) = [m for m in place.mail.to(STAFF) if "Audit log" in m.text]
    assert named_in_digest(digest.text)["certificate-expired"] == 1
    assert "1 client to call" in digest.subject
