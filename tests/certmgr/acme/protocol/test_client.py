"""The connection to a CA that answers slowly, refuses nonces, or names internal addresses."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from certmgr.acme.protocol import client, connection
from certmgr.acme.protocol.problems import AcmeError
from inventory.store import acme_orders
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.certmgr.net.scripted import count_waits, scripted
from tests.servers import faults
from tests.servers.faults import Rule
from tests.servers.faulty import Proxy


def test_dripping_answer_ends_with_the_time_limit(
    proxied_env: AcmeEnvironment, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOTAL_SECONDS", 0.5)
    for number, fault in enumerate((faults.dripping(0.05), faults.dripping(0.05, headers=True))):
        proxy.rules[:] = [Rule(fault, "/dir")]
        with proxied_env.database.write() as tx:
            acme_orders.forgive(tx, proxy.directory, [""])
        done = proxied_env.order(proxied_env.lineage("1001", ["shop.test"], name=f"drip{number}"))
        assert done.state == "failed" and (
            "did not answer" in done.message or "did not send JSON" in done.message
        ), done


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (b"HTTP/1.1 200 OK\r\nX-Header: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["chunk size", "chunk extension", "header", "interim answers"],
)
def test_ca_that_drips_one_line_does_not_move_the_deadline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, head: bytes, drip: bytes
) -> None:
    """A deadline that is checked between reads would never be: each line is one read."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    count_waits(monkeypatch, "certmgr.acme.protocol.connection", 1)
    settings = connection.CaConnection(str(tmp_path / "ca.pem"), internal=True)
    with scripted(head, drip, trust=context) as server:
        network = client.AcmeNetwork(settings)
        with pytest.raises(AcmeError, match="did not complete within 60 seconds"):
            network.get(f"https://localhost:{server.port}/directory")


def test_url_of_an_internal_address_is_not_requested(
    proxied_env: AcmeEnvironment, proxy: Proxy
) -> None:
    """The CA's host is allowed; the metadata service of the cloud, which it names, is not."""
    proxied_env.configure(
        cas={"test": replace(proxied_env.settings.acme.cas["test"], internal=False)}
    )
    body = (
        '{"status": "pending", "identifiers": [], "authorizations":'
        ' ["https://169.254.169.254/latest/meta-data"], "finalize": "https://169.254.169.254/x"}'
    )
    proxy.rules.append(Rule(faults.answer(200, body, "application/json"), "/my-order/"))
    done = proxied_env.order(proxied_env.lineage("1001", ["shop.test"]))
    assert (
        done.state == "failed"
        and "is not requested" in done.message
        and "link-local" in done.message
    ), done


@pytest.mark.parametrize(("chance", "orders"), [(0.3, 4), (0.9, 1)])
def test_order_completes_though_nonces_are_refused(
    proxied_env: AcmeEnvironment, proxy: Proxy, chance: float, orders: int
) -> None:
    rule = Rule(faults.problem(400, "badNonce", "no"), method="POST", chance=chance)
    proxy.rules.append(rule)
    for number in range(orders):
        assert (
            proxied_env.order(proxied_env.lineage("1001", ["shop.test"], name=f"l{number}")).state
            == "issued"
        )
    assert rule.fired > 3


def test_ca_that_refuses_every_nonce_is_given_up(
    proxied_env: AcmeEnvironment, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "NONCE_TRIES", 20)
    rule = Rule(faults.problem(400, "badNonce", "no"), method="POST")
    proxy.rules.append(rule)
    done = proxied_env.order(proxied_env.lineage("1001", ["shop.test"]))
    assert done.state == "failed" and "nonce" in done.message
    assert rule.fired == 20
