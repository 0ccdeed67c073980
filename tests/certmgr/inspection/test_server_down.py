"""A server that is down is one cause, and no client is asked to install a certificate for it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.inspection.server_down import servers_down
from inventory.models import StoredFinding
from inventory.store import domains, endpoints
from inventory.store.server_faults import NotConnected
from inventory.targets import Target
from tests.certmgr.installation import ADA, Installation
from tests.clock import clock
from tests.databases import open_sqlite
from tests.inventory.store.builders import endpoint_id

NAMES = tuple(f"site{n}.example.test" for n in range(4))


@pytest.fixture
def stopped(installation: Installation, issuer: Authority) -> Installation:
    """A server with four names, which was fine and refuses connections now."""
    run = installation.run
    run("server", "add", "web3", "--kind", "web", "--address", "127.0.0.1")
    web = Server(servers.tls(server_context(issuer.issue(*NAMES, days=80))))
    # The last name was never seen with a certificate: it is added when the server is down.
    installation.add_endpoints(*NAMES[:3], port=web.port)
    for name in NAMES[:3]:
        run("domain", "edit", name, "--server", "web3")
    run("scan")
    web.close()
    database = open_sqlite(installation.database)
    with database.write() as tx:
        domains.add(tx, NAMES[3], {"client": "1001"})
        endpoints.edit(tx, Target(NAMES[3]), {"port": web.port, "addresses": ["127.0.0.1"]})
    database.close()
    run("domain", "edit", NAMES[3], "--server", "web3")
    run("scan", expect=None)
    return installation


def test_server_that_is_down_is_one_cause(stopped: Installation) -> None:
    causes = stopped.run("status", "--causes", "--format", "json", expect=1).json["causes"]
    (cause,) = causes
    assert (cause["endpoints"], cause["actor"], cause["kind"]) == (4, "provider", "server")
    assert "web3 refuses connections on" in cause["detail"]
    assert "4 names" in cause["detail"]
    assert "No certificate has to be installed" in cause["do"]
    status = stopped.run("status", "--format", "json", expect=1).json
    assert sum(e["verdict"] == "fault" for e in status["endpoints"]) == cause["endpoints"]


def test_cause_shows_who_fixes_it_and_until_when(stopped: Installation) -> None:
    day = (clock() + timedelta(days=2)).date().isoformat()
    stopped.run(
        *("finding", "assign", "https-missing", "--by", "Eve", "--until", day),
        *("--client", "1001"),
    )
    (cause,) = stopped.run("status", "--causes", "--format", "json", expect=1).json["causes"]
    (person,) = cause["assigned"]
    assert person["by"] == "Eve"
    assert person["until"].startswith(day)
    assert "Eve fixes it until" in stopped.run("status", "--causes", expect=1).out


def test_assignment_of_a_cause_covers_each_of_its_findings(stopped: Installation) -> None:
    """The printed commands together assign the whole cause."""
    database = open_sqlite(stopped.database)
    with database.write() as tx:
        first = endpoint_id(tx.conn, NAMES[0], _port(stopped))
        tx.conn.execute(
            update(StoredFinding)
            .where(StoredFinding.endpoint_id == first, StoredFinding.closed_at.is_(None))
            .values(code="connection-failed")
        )
    database.close()
    (cause,) = stopped.run("status", "--causes", "--format", "json", expect=1).json["causes"]
    assert len(cause["assign_all"]) == 2
    assert cause["assign"] == cause["assign_all"][0]
    shown = stopped.run("status", "--causes", expect=1).out
    day = (clock() + timedelta(days=2)).date().isoformat()
    for command in cause["assign_all"]:
        assert command in shown
        arguments = command.replace("NAME", "Eve").replace("DATE", day).split()
        # Any endpoint of the cause stands for it, also one with another code.
        arguments[arguments.index("--server") : arguments.index("--by")] = [
            *("--cause", f"{NAMES[1]}:{_port(stopped)}")
        ]
        stopped.run(*arguments[1:])
    assigned = stopped.run("finding", "list", "--assigned", "--format", "json").json
    assert len(assigned["acceptances"]) == cause["endpoints"]


def _port(installation: Installation) -> int:
    status = installation.run("status", "--format", "json", expect=1).json["endpoints"]
    return next(
        int(e["target"].rsplit(":", 1)[1]) for e in status if e["target"].startswith(NAMES[0])
    )


def test_client_is_not_asked_to_install_a_certificate(stopped: Installation) -> None:
    report = stopped.run("report", "--client", "1001", "--format", "json").json
    assert report["you_act"] == []
    assert len(report["escalated"]) == 4
    assert all("Fehler des Servers" in a["what"] for a in report["escalated"])
    stopped.run("notify", "--queue-only")
    stopped.release_all()
    stopped.run("notify")
    texts = " ".join(m.text for m in stopped.mail.to(ADA))
    assert "CSR" not in texts


def test_diagnosis_of_a_name_on_it_asks_for_no_certificate(stopped: Installation) -> None:
    (cause,) = stopped.run("status", "--causes", "--format", "json", expect=1).json["causes"]
    port = cause["targets"][0].split(":")[1].partition("/")[0]
    found = stopped.run(
        *("diagnose", f"https://{NAMES[3]}:{port}/", "--http-port", "9"),
        *("--language", "en", "--format", "json"),
        expect=1,
    ).json
    assert (found["code"], found["who"]) == ("https-missing", "provider")
    assert "does not accept connections" in found["cause"]
    assert "No certificate has to be installed" in found["instruction"]


def _row(endpoint: int, *, code: str = "https-missing", had: bool = True) -> NotConnected:
    return NotConnected(endpoint, "web3", 443, code, ("192.0.2.3",), had)


def test_one_name_or_a_server_without_https_is_not_a_server_that_is_down() -> None:
    assert servers_down([_row(1)]) == {}
    assert servers_down([_row(1, had=False), _row(2, had=False)]) == {}
    assert set(servers_down([_row(1), _row(2, had=False)])) == {1, 2}


def test_silent_server_does_not_answer() -> None:
    down = servers_down([_row(1, code="unreachable"), _row(2, code="connection-timeout")])
    assert down[1].sentence(2) == "web3 does not answer on 443, 2 names"
    other_port = NotConnected(3, "web3", 993, "connection-failed", (), True)
    assert set(servers_down([_row(1), other_port])) == set()
