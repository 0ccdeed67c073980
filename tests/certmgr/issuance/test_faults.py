"""A CA that fails in every way that a network and a server can, through a proxy in front of a real one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.config import Settings
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.issuance import client
from certmgr.issuance.worker import Why, Worker
from inventory.clock import system_clock
from inventory.database import Database
from inventory.store import acme_orders, cases
from tests.certmgr.issuance.shop import Shop, shop
from tests.servers import faulty
from tests.servers.faulty import Proxy, Rule
from tests.servers.pebble import Pebble


@pytest.fixture
def proxy(tmp_path: Path, ca: Pebble, opened: ExitStack) -> Proxy:
    return opened.enter_context(faulty.faulty(tmp_path, ca.directory, ca.ca_file))


@pytest.fixture
def place(database: Database, settings: Settings, tmp_path: Path, ca: Pebble, proxy: Proxy) -> Shop:
    made = shop(
        database, settings, tmp_path, proxy.directory, proxy.ca_file, dns=ca.dns, http_port=ca.http_port, tls_port=ca.tls_port
    )
    made.client("1001", "shop.test", "other.test")
    made.register()
    return made


def waits(place: Shop) -> dict[str, tuple[int, int]]:
    """scope -> (failures, seconds from now)."""
    with place.database.read() as conn:
        return {b["scope"]: (b["failures"], b["until"] - int(system_clock().timestamp())) for b in acme_orders.backoffs(conn)}


ORDER, FINALIZE, CERTIFICATE, AUTHORIZATION = "/order-plz", "/finalize-order/", "/certZ/", "/authZ/"


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/nonce-plz", faulty.answer(503, "down")), (ORDER, faulty.answer(502, "<html>Bad gateway</html>", "text/html")), (AUTHORIZATION, faulty.answer(500, b"")),
        ("/chalZ/", faulty.answer(503)), (FINALIZE, faulty.answer(500, "{}")), (CERTIFICATE, faulty.answer(504, "late")), ("/my-order/", faulty.reset()),
        (CERTIFICATE, faulty.truncated()), (AUTHORIZATION, faulty.truncated()), (ORDER, faulty.reset()), (FINALIZE, faulty.dropped()), ("/dir", faulty.answer(200, "<html>", "text/html")),
        (CERTIFICATE, faulty.huge(5_000_000)), (AUTHORIZATION, faulty.huge(5_000_000, chunked=True)), (ORDER, faulty.answer(200, "[]", "application/json")),
        (AUTHORIZATION, faulty.answer(200, '{"status": "dancing"}', "application/json")), ("/my-order/", faulty.answer(200, '{"status": "valid", "authorizations": ["file:///etc/passwd"]}', "application/json")),
    ],
)  # fmt: skip
def test_what_fails_once_is_gone_on_with_by_the_next_run(place: Shop, proxy: Proxy, path: str, fault: faulty.Fault) -> None:
    """One sentence, no traceback, the same order and the same key."""
    lineage = place.lineage("1001", ["shop.test"])
    rule = Rule(fault, path, nth=(1,))
    proxy.rules.append(rule)
    done = place.order(lineage)
    assert rule.fired == 1
    assert done.state in ("failed", "issued"), done
    if done.state == "issued":
        return
    assert "\x1b" not in done.said and "Traceback" not in done.said and len(done.said) < 1500
    with place.database.write() as tx:
        acme_orders.forgive(tx, proxy.directory, [""])
    again = place.order(lineage)
    assert again.state == "issued", (done.said, again.said)
    keys = list((place.office.base / "keys").glob("order-*/*.key"))
    assert len(keys) == len(place.orders(lineage))
    assert len(place.orders(lineage)) == 1 or path == "/my-order/"


def test_an_order_whose_answer_was_lost_is_found_again(place: Shop, proxy: Proxy, ca: Pebble) -> None:
    lineage = place.lineage("1001", ["shop.test"])
    before = ca.order_count()
    proxy.rules.append(Rule(faulty.dropped(), ORDER, nth=(1,)))
    assert place.order(lineage).state == "failed"
    assert ca.order_count() == before + 1
    with place.database.write() as tx:
        acme_orders.forgive(tx, proxy.directory, [""])
    assert place.order(lineage).state == "issued"
    assert ca.order_count() == before + 1, "it was ordered twice"


@pytest.mark.parametrize("as_date", [False, True])
def test_a_limit_is_respected_by_name_and_ca(place: Shop, proxy: Proxy, as_date: bool) -> None:
    first, second = place.lineage("1001", ["shop.test"]), place.lineage("1001", ["other.test"])
    detail = "too many certificates already issued for shop.test"
    proxy.rules.append(Rule(faulty.rate_limited(7200, as_date=as_date, detail=detail), ORDER, nth=(1,)))
    done = place.order(first)
    assert done.state == "failed" and "a limit of the CA is reached" in done.said and detail in done.said
    count, seconds = waits(place)["domain:shop.test"]
    assert count == 1 and 7100 < seconds < 7200 * 1.11
    asked = len(proxy.to(ORDER, "POST"))
    waiting = place.order(first)
    assert waiting.state == "waits" and waiting.until is not None
    assert len(proxy.to(ORDER, "POST")) == asked, "the CA was asked again before its time"
    assert place.order(second).state == "issued", "a limit of one name kept another one back"


def test_a_paused_account_backs_off_longer_each_time(place: Shop, proxy: Proxy) -> None:
    proxy.rules.append(
        Rule(
            faulty.problem(
                429,
                "rateLimited",
                "Your account is temporarily prevented from requesting certificates. Visit https://ca.example/unpause to unpause",
            ),
            ORDER,
        )
    )
    lineage, moment = place.lineage("1001", ["shop.test"]), system_clock()
    hours = []
    for _ in range(7):
        place.given = {"clock": lambda at=moment: at, "draw": lambda: 0.0}
        done = place.order(lineage)
        assert done.until is not None
        wait = done.until - int(moment.timestamp())
        hours.append(round(wait / 3600))
        moment += timedelta(seconds=wait + 1)
    assert hours == [1, 2, 4, 8, 16, 32, 32]
    assert list(waits(place)) == ["domain:shop.test"], "one paused name keeps back nobody else's"


def test_retry_after_of_a_poll_is_waited_for(place: Shop, proxy: Proxy) -> None:
    """A CA that says 3 seconds is not asked each second."""
    slept: list[float] = []
    place.given = {"wait": slept.append}
    lineage = place.lineage("1001", ["shop.test"])
    pending = '{"status": "pending", "identifier": {"type": "dns", "value": "shop.test"}, "challenges": []}'
    proxy.rules.append(Rule(faulty.answer(200, pending, "application/json", {"Retry-After": "3"}), AUTHORIZATION, nth=(2, 3)))
    assert place.order(lineage).state == "issued"
    assert slept.count(3.0) == 2


def test_a_challenge_that_never_ends(place: Shop, proxy: Proxy) -> None:
    moment = [system_clock()]

    def wait(seconds: float) -> None:
        moment[0] += timedelta(seconds=seconds)

    place.given = {"wait": wait, "clock": lambda: moment[0]}
    pending = '{"status": "pending", "identifier": {"type": "dns", "value": "shop.test"}, "challenges": []}'
    rule = Rule(faulty.answer(200, pending, "application/json"), AUTHORIZATION, nth=range(2, 100_000))
    proxy.rules.append(rule)
    done = place.order(place.lineage("1001", ["shop.test"]))
    assert done.state == "failed" and "has not decided about shop.test" in done.said
    assert place.orders(1)[0]["ended_at"] is None, "it is gone on with later"


def test_a_drip_does_not_hold_us(place: Shop, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TOTAL_SECONDS", 2.0)
    for number, fault in enumerate((faulty.dripping(0.2), faulty.dripping(0.2, headers=True))):
        proxy.rules[:] = [Rule(fault, "/dir")]
        with place.database.write() as tx:
            acme_orders.forgive(tx, proxy.directory, [""])
        done = place.order(place.lineage("1001", ["shop.test"], name=f"drip{number}"))
        assert done.state == "failed" and ("did not answer" in done.said or "something else than JSON" in done.said), done


def test_words_of_a_ca_are_shown_and_nothing_else(place: Shop, proxy: Proxy, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J$(touch /tmp/owned) `touch /tmp/owned` {0.__class__} %s \u202e"
    proxy.rules.append(
        Rule(
            faulty.problem(
                400,
                "malformed",
                evil,
                subproblems=[
                    {"type": "urn:ietf:params:acme:error:dns", "detail": evil, "identifier": {"type": "dns", "value": evil}}
                ],
            ),
            ORDER,
        )
    )
    done = place.order(place.lineage("1001", ["shop.test"]))
    assert done.state == "failed"
    assert "$(touch /tmp/owned)" in done.said and "\x1b" not in done.said and "\u202e" not in done.said
    assert not Path("/tmp/owned").exists()


def chain_of(place: Shop, proxy: Proxy, make: str) -> bytes:
    root = Authority("Evil Root")
    made = Authority("Evil", root).issue("shop.test", days=30)
    return made.chain_pem


def test_a_certificate_for_another_key_leaves_the_live_pair_as_it_is(place: Shop, proxy: Proxy) -> None:
    lineage = place.lineage("1001", ["shop.test"])
    assert place.order(lineage).state == "issued"
    folder = Lineage(place.office.base, "shop.test")
    folder.switch(folder.versions()[-1])
    before = folder.read_current()
    proxy.rules.append(Rule(faulty.answer(200, chain_of(place, proxy, ""), "application/pem-certificate-chain"), CERTIFICATE))
    done = place.order(lineage)
    assert done.state == "failed" and "another key than the CSR's" in done.said
    assert folder.read_current() == before
    assert place.row(lineage)["sha256"] == before.sha256 if before else False


def test_a_chain_in_the_wrong_order_is_put_right(place: Shop, proxy: Proxy, ca: Pebble) -> None:
    """The proxy turns the chain round: what is stored is the order of a server."""
    lineage = place.lineage("1001", ["shop.test"])
    import re

    def turned(seen: faulty.Seen) -> bool:
        status, _, body = proxy.pass_on(seen)
        parts = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", body, re.DOTALL)
        rule.fault = faulty.answer(status, b"".join(reversed(parts)), "application/pem-certificate-chain")
        return len(parts) > 1

    rule = Rule(faulty.answer(200), CERTIFICATE, when=turned)
    proxy.rules.append(rule)
    done = place.order(lineage)
    assert done.state == "issued" or rule.fired == 0, done
    with place.database.read() as conn:
        ders = cases.chain_of(conn, place.row(lineage)["chain"].split())
    assert len(ders) == 2


def test_the_chain_that_is_preferred(place: Shop, ca: Pebble) -> None:
    from cryptography import x509

    wanted = x509.load_pem_x509_certificate(ca.root(1).encode()).subject.rfc4514_string().partition("CN=")[2].split(",")[0]
    lineage = place.lineage("1001", ["shop.test"], preferred_chain=wanted)
    assert place.order(lineage).state == "issued"
    with place.database.read() as conn:
        top = x509.load_der_x509_certificate(cases.chain_of(conn, place.row(lineage)["chain"].split())[-1])
    assert wanted in top.issuer.rfc4514_string()
    missing = place.lineage("1001", ["shop.test"], name="second", preferred_chain="Nobody's Root")
    assert place.order(missing).state == "issued" and "offers no chain to" in place.row(missing)["error"]


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_a_day_off(place: Shop, days: int) -> None:
    """A day slow: the certificate has not begun. A day fast: it does no harm with a long one."""
    place.given = {"clock": lambda: system_clock() + timedelta(days=days)}
    done = place.order(place.lineage("1001", ["shop.test"]))
    if days < 0:
        assert done.state == "failed" and "check the clock of this machine" in done.said, done
    else:
        assert done.state == "issued", done


def test_a_url_of_the_ca_that_leads_inside_is_not_asked(place: Shop, proxy: Proxy) -> None:
    """Its own host is allowed; that it names the cloud's metadata service is not."""
    place.settings = replace(
        place.settings, acme=replace(place.settings.acme, cas={"test": replace(place.settings.acme.cas["test"], internal=False)})
    )
    body = '{"status": "pending", "identifiers": [], "authorizations": ["https://169.254.169.254/latest/meta-data"], "finalize": "https://169.254.169.254/x"}'
    proxy.rules.append(Rule(faulty.answer(200, body, "application/json"), "/my-order/"))
    done = place.order(place.lineage("1001", ["shop.test"]))
    assert done.state == "failed" and "is not asked" in done.said and "link-local" in done.said, done


def test_replaces_is_given_up_where_the_ca_does_not_take_it(place: Shop, proxy: Proxy) -> None:
    lineage = place.lineage("1001", ["shop.test"])
    refuse = Rule(
        faulty.problem(409, "alreadyReplaced", "that certificate was replaced"),
        ORDER,
        when=lambda s: "replaces" in (s.payload or {}),
    )
    proxy.rules.append(refuse)
    done = Worker(place.office).order(lineage, Why("test", replaces="AAAA.BBBB", exempt=True))
    assert done.state == "issued" and refuse.fired == 1, done
    assert place.orders(lineage)[0]["replaces"] is None
    assert [("replaces" in (s.payload or {})) for s in proxy.to(ORDER, "POST")] == [True, False]


def test_thirty_percent_of_nonces_refused(place: Shop, proxy: Proxy) -> None:
    rule = Rule(faulty.problem(400, "badNonce", "no"), method="POST", chance=0.3)
    proxy.rules.append(rule)
    for number in range(4):
        assert place.order(place.lineage("1001", ["shop.test"], name=f"l{number}")).state == "issued"
    assert rule.fired > 3


def test_a_ca_that_refuses_every_nonce_is_left_in_the_end(place: Shop, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "NONCE_TRIES", 20)
    rule = Rule(faulty.problem(400, "badNonce", "no"), method="POST")
    proxy.rules.append(rule)
    done = place.order(place.lineage("1001", ["shop.test"]))
    assert done.state == "failed" and "nonce" in done.said
    assert rule.fired == 20
