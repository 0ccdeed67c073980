"""One order: names, keys, polling, chains, and the answers of a CA."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certmgr.acme.orders.revoke import revoke
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.x509 import csr
from certmgr.x509.csr import spki
from inventory.clock import system_clock
from inventory.store import acme_orders, certificates, domains
from tests.certmgr.acme.shop import AcmeEnvironment, leaf, names
from tests.certmgr.cases.place import PublicKey
from tests.servers import faults
from tests.servers.faults import Rule
from tests.servers.faulty import Proxy
from tests.servers.pebble import Pebble

ORDER, CERTIFICATE, AUTHORIZATION = "/order-plz", "/certZ/", "/authZ/"
FINALIZE = "/finalize-order/"


def test_order_by_http_stores_one_version(env: AcmeEnvironment, ca: Pebble) -> None:
    done = env.order(env.lineage("1001", ["shop.test", "www.shop.test"]))
    assert done.state == "issued", done
    material = Lineage(env.context.base, "shop.test").versions()
    assert len(material) == 1


def test_international_name_and_address_stand_in_one_certificate(env: AcmeEnvironment) -> None:
    wanted = ["shop.test", "www.shop.test", "xn--mller-kva.test", "127.0.0.1"]
    lineage = env.lineage("1001", wanted)
    done = env.order(lineage)
    assert done.state == "issued", done
    assert names(leaf(env, lineage)) == set(wanted)


def test_hundred_names_stand_in_one_certificate(env: AcmeEnvironment) -> None:
    wanted = [f"n{i}.shop.test" for i in range(100)]
    lineage = env.lineage("1001", wanted)
    assert env.order(lineage).state == "issued"
    assert len(names(leaf(env, lineage))) == 100


def test_lineages_of_two_key_types_share_a_name(env: AcmeEnvironment) -> None:
    first = env.lineage("1001", ["shop.test"])
    second = env.lineage("1001", ["shop.test"], "shop.test-rsa", key_type="rsa-2048")
    assert env.order(first).state == env.order(second).state == "issued"
    kinds = [type(leaf(env, each).public_key()).__name__ for each in (first, second)]
    assert kinds == ["ECPublicKey", "RSAPublicKey"]


def test_key_is_new_for_each_order_unless_it_is_reused(env: AcmeEnvironment) -> None:
    def keys(lineage: int) -> list[bytes]:
        found = []
        for _ in range(2):
            assert env.order(lineage).state == "issued"
            folder = Lineage(env.context.base, env.row(lineage).name)
            folder.switch(folder.versions()[-1])
            material = folder.read_current()
            assert material is not None and material.key_pem is not None
            found.append(material.key_pem)
        return found

    fresh = keys(env.lineage("1001", ["shop.test"]))
    assert fresh[0] != fresh[1]
    same = keys(env.lineage("1001", ["www.shop.test"], reuse_key=1))
    assert same[0] == same[1]


def test_compromised_key_is_not_reused(env: AcmeEnvironment) -> None:
    env.unwatch("shop.test")
    env.lineage("1001", ["shop.test"], reuse_key=1)
    RenewalRunner(env.context).run_due()
    folder = Lineage(env.context.base, "shop.test")
    first = folder.read_current()
    revoke(env.context, "shop.test", "keyCompromise")
    RenewalRunner(env.context).run_due()
    second = folder.read_current()
    assert first is not None and second is not None and first.key_pem != second.key_pem


def test_csr_of_the_client_is_used_and_no_key_is_made(env: AcmeEnvironment) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = csr.make(key, ["shop.test"], True).decode()
    lineage = env.lineage("1001", ["shop.test"], csr=request)
    assert env.order(lineage).state == "issued"
    assert spki(leaf(env, lineage).public_key()) == spki(key.public_key())
    version = Lineage(env.context.base, "shop.test").versions()[-1]
    assert Lineage(env.context.base, "shop.test").read(version).key_pem is None
    assert list((env.context.base / "keys").glob("order-*")) == []


def test_order_whose_answer_was_lost_is_found_again(
    proxied_env: AcmeEnvironment, proxy: Proxy, ca: Pebble
) -> None:
    lineage = proxied_env.lineage("1001", ["shop.test"])
    before = ca.order_count()
    proxy.rules.append(Rule(faults.dropped(), ORDER, nth=(1,)))
    assert proxied_env.order(lineage).state == "failed"
    assert ca.order_count() == before + 1
    with proxied_env.database.write() as tx:
        acme_orders.forgive(tx, proxy.directory, [""])
    assert proxied_env.order(lineage).state == "issued"
    assert ca.order_count() == before + 1, "it was ordered twice"


def test_retry_after_of_a_poll_is_waited_for(proxied_env: AcmeEnvironment, proxy: Proxy) -> None:
    """A CA that asks for a pause of 7 seconds is not polled each second.

    Pebble asks for one of 3 seconds while it validates, so that another number is the proxy's.
    """
    slept: list[float] = []
    proxied_env.given = {"wait": slept.append}
    lineage = proxied_env.lineage("1001", ["shop.test"])
    pending = (
        '{"status": "pending", "identifier": {"type": "dns", "value": "shop.test"},'
        ' "challenges": []}'
    )
    proxy.rules.append(
        Rule(
            faults.answer(200, pending, "application/json", {"Retry-After": "7"}),
            AUTHORIZATION,
            nth=(2, 3),
        )
    )
    assert proxied_env.order(lineage).state == "issued"
    assert slept.count(7.0) == 2


def test_undecided_challenge_leaves_the_order_open(
    proxied_env: AcmeEnvironment, proxy: Proxy
) -> None:
    moment = [system_clock()]

    def wait(seconds: float) -> None:
        moment[0] += timedelta(seconds=seconds)

    proxied_env.given = {"wait": wait, "clock": lambda: moment[0]}
    pending = (
        '{"status": "pending", "identifier": {"type": "dns", "value": "shop.test"},'
        ' "challenges": []}'
    )
    rule = Rule(
        faults.answer(200, pending, "application/json"), AUTHORIZATION, nth=range(2, 100_000)
    )
    proxy.rules.append(rule)
    done = proxied_env.order(proxied_env.lineage("1001", ["shop.test"]))
    assert done.state == "failed" and "has not decided about shop.test" in done.message
    assert proxied_env.orders(1)[0].ended_at is None, "the next run continues it"


def test_certificate_for_another_key_leaves_the_live_pair(
    proxied_env: AcmeEnvironment, proxy: Proxy
) -> None:
    lineage = proxied_env.lineage("1001", ["shop.test"])
    assert proxied_env.order(lineage).state == "issued"
    folder = Lineage(proxied_env.context.base, "shop.test")
    folder.switch(folder.versions()[-1])
    before = folder.read_current()
    assert before is not None
    other = Authority("Evil", Authority("Evil Root")).issue("shop.test", days=30)
    answer = faults.answer(200, other.chain_pem, "application/pem-certificate-chain")
    proxy.rules.append(Rule(answer, CERTIFICATE))
    done = proxied_env.order(lineage)
    assert done.state == "failed" and "another key than the CSR" in done.message
    assert folder.read_current() == before
    assert proxied_env.row(lineage).sha256 == before.sha256


def test_chain_in_the_wrong_order_is_sorted(
    proxied_env: AcmeEnvironment, proxy: Proxy, ca: Pebble
) -> None:
    """The proxy reverses the chain; it is stored in the order in which a server sends it."""
    lineage = proxied_env.lineage("1001", ["shop.test"])

    def reversed_chain(seen: faults.Seen) -> bool:
        status, _, body = proxy.pass_on(seen)
        parts = re.findall(
            rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", body, re.DOTALL
        )
        rule.fault = faults.answer(
            status, b"".join(reversed(parts)), "application/pem-certificate-chain"
        )
        return len(parts) > 1

    rule = Rule(faults.answer(200), CERTIFICATE, when=reversed_chain)
    proxy.rules.append(rule)
    done = proxied_env.order(lineage)
    assert done.state == "issued" and rule.fired == 1, done
    with proxied_env.database.read() as conn:
        ders = certificates.ders_in_order(conn, proxied_env.row(lineage).chain)
    assert len(ders) == 2


def test_preferred_chain_is_stored_if_it_is_offered(env: AcmeEnvironment, ca: Pebble) -> None:
    wanted = (
        x509.load_pem_x509_certificate(ca.root(1).encode())
        .subject.rfc4514_string()
        .partition("CN=")[2]
        .split(",")[0]
    )
    lineage = env.lineage("1001", ["shop.test"], preferred_chain=wanted)
    assert env.order(lineage).state == "issued"
    with env.database.read() as conn:
        top = x509.load_der_x509_certificate(
            certificates.ders_in_order(conn, env.row(lineage).chain)[-1]
        )
    assert wanted in top.issuer.rfc4514_string()
    missing = env.lineage("1001", ["shop.test"], name="second", preferred_chain="Unknown Root")
    assert env.order(missing).state == "issued" and "offers no chain to" in (
        env.row(missing).error or ""
    )


@pytest.mark.parametrize("days", [-1, 1])
def test_clock_a_day_slow_fails_the_order_and_a_day_fast_does_not(
    env: AcmeEnvironment, days: int
) -> None:
    """Slow: the certificate is not valid yet. Fast: it has no effect on a long lifetime."""
    env.given = {"clock": lambda: system_clock() + timedelta(days=days)}
    done = env.order(env.lineage("1001", ["shop.test"]))
    if days < 0:
        assert done.state == "failed" and "Check the clock of this machine" in done.message, done
    else:
        assert done.state == "issued", done


REFUSALS = [
    (409, "alreadyReplaced", "that certificate was replaced"),
    (400, "malformed", "could not find an order for the given certificate"),
    (403, "unauthorized", "requester account did not request the certificate"),
    (404, "notFound", "no such certificate"),
    (409, "conflict", "a predecessor was specified already"),
    (422, "", "unprocessable"),
]


@pytest.mark.parametrize(("status", "kind", "detail"), REFUSALS)
def test_order_is_repeated_once_without_a_refused_replaces(
    proxied_env: AcmeEnvironment, proxy: Proxy, status: int, kind: str, detail: str
) -> None:
    lineage = proxied_env.lineage("1001", ["shop.test"])
    refuse = Rule(
        faults.problem(status, kind, detail),
        ORDER,
        when=lambda s: "replaces" in (s.payload or {}),
    )
    proxy.rules.append(refuse)
    done = proxied_env.order(lineage, replaces="AAAA.BBBB", exempt=True)
    assert done.state == "issued" and refuse.fired == 1, done
    order = proxied_env.orders(lineage)[0]
    assert order.replaces is None and not order.exempt
    assert [("replaces" in (s.payload or {})) for s in proxy.to(ORDER, "POST")] == [True, False]


def test_order_without_replaces_is_subject_to_the_rate_limits(
    proxied_env: AcmeEnvironment, proxy: Proxy
) -> None:
    """The exemption of a renewal ends with ``replaces``; a retry of the order is checked too."""
    env = proxied_env
    env.configure(cas={"test": dataclasses.replace(env.settings.acme.cas["test"], per_set="1/7d")})
    lineage = env.lineage("1001", ["shop.test"])
    assert env.order(lineage).state == "issued"
    refuse = Rule(
        faults.problem(403, "unauthorized", "not yours"),
        ORDER,
        when=lambda s: "replaces" in (s.payload or {}),
    )
    proxy.rules.append(refuse)
    for _ in range(2):
        done = env.order(lineage, replaces="AAAA.BBBB", exempt=True)
        assert done.state == "waits" and "limit of 1" in done.message, done
    assert [("replaces" in (s.payload or {})) for s in proxy.to(ORDER, "POST")] == [False, True]
    # Near the end only the CA's own answer counts.
    assert env.order(lineage, replaces="AAAA.BBBB", urgent=True).state == "issued"


def test_refusal_of_the_order_itself_is_repeated_only_once(
    proxied_env: AcmeEnvironment, proxy: Proxy
) -> None:
    refuse = Rule(faults.problem(403, "unauthorized", "the account is suspended"), ORDER)
    proxy.rules.append(refuse)
    done = proxied_env.order(proxied_env.lineage("1001", ["shop.test"]), replaces="AAAA.BBBB")
    assert done.state == "failed" and refuse.fired == 2, done


def test_rate_limit_is_not_answered_by_a_second_order(
    proxied_env: AcmeEnvironment, proxy: Proxy
) -> None:
    refuse = Rule(faults.rate_limited(3600), ORDER)
    proxy.rules.append(refuse)
    done = proxied_env.order(proxied_env.lineage("1001", ["shop.test"]), replaces="AAAA.BBBB")
    assert done.state == "failed" and refuse.fired == 1, done


def test_urgent_retry_after_an_internal_error_leaves_replaces_out(
    proxied_env: AcmeEnvironment, proxy: Proxy
) -> None:
    refuse = Rule(faults.problem(500), ORDER, when=lambda s: "replaces" in (s.payload or {}))
    proxy.rules.append(refuse)
    lineage = proxied_env.lineage("1001", ["shop.test"])
    assert proxied_env.order(lineage, replaces="AAAA.BBBB", urgent=True).state == "failed"
    done = proxied_env.order(lineage, replaces="AAAA.BBBB", urgent=True)
    assert done.state == "issued" and refuse.fired == 1, done


@pytest.mark.parametrize("refused", [(1,), (1, 2, 3)])
def test_order_that_is_not_ready_yet_is_finalized_again(
    proxied_env: AcmeEnvironment, proxy: Proxy, refused: tuple[int, ...]
) -> None:
    rule = Rule(
        faults.problem(403, "orderNotReady", "Order's status is pending"), FINALIZE, nth=refused
    )
    proxy.rules.append(rule)
    done = proxied_env.order(proxied_env.lineage("1001", ["shop.test"]))
    assert done.state == "issued" and rule.fired == len(refused), done


def test_order_that_never_becomes_ready_is_left_to_the_next_run(
    proxied_env: AcmeEnvironment, proxy: Proxy
) -> None:
    rule = Rule(faults.problem(403, "orderNotReady", "not ready"), FINALIZE)
    proxy.rules.append(rule)
    proxied_env.given = {"wait": lambda _: None}
    lineage = proxied_env.lineage("1001", ["shop.test"])
    done = proxied_env.order(lineage)
    assert done.state == "failed" and "not ready" in done.message, done
    assert 1 < rule.fired < 20
    proxy.rules.clear()
    assert proxied_env.order(lineage).state == "issued"
    assert len(proxied_env.orders(lineage)) == 1


@pytest.mark.parametrize(
    ("extra", "state"), [("www.shop.test", "issued"), ("other.test", "failed")]
)
def test_name_that_the_ca_adds_is_taken_if_it_belongs_to_the_client(
    proxied_env: AcmeEnvironment, proxy: Proxy, extra: str, state: str
) -> None:
    """A CA that adds www to each certificate; other.test belongs to another client."""
    env = proxied_env
    env.client("1002")
    with env.database.write() as tx:
        domains.edit(tx, "other.test", {"client": "1002"})
    lineage = env.lineage("1001", ["shop.test"])

    def with_extra(seen: faults.Seen) -> bool:
        with env.database.read() as conn:
            pem = acme_orders.last_of(conn, lineage, 1)[0].csr or ""
        key = x509.load_pem_x509_csr(pem.encode()).public_key()
        issuer = Authority("Generous Issuer", Authority("Generous Root"))
        made = issuer.issue("shop.test", extra, key=PublicKey(key), days=30)
        rule.fault = faults.answer(200, made.chain_pem, "application/pem-certificate-chain")
        return True

    rule = Rule(faults.answer(200), CERTIFICATE, when=with_extra)
    proxy.rules.append(rule)
    done = env.order(lineage)
    assert done.state == state, done
    if state == "issued":
        assert "added www.shop.test" in (env.row(lineage).error or "")
        assert names(leaf(env, lineage)) == {"shop.test", extra}
    else:
        assert "other.test" in done.message
