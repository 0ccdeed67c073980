"""Whether a lineage may order now, and how failures are handled."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from inventory.clock import system_clock
from inventory.db.database import Database
from inventory.store import acme_orders, domains
from tests.certmgr.acme.shop import AcmeEnvironment, make_environment
from tests.servers import faults
from tests.servers.acme2certifier import Acme2certifier
from tests.servers.faults import Rule
from tests.servers.faulty import Proxy

ORDER, FINALIZE, CERTIFICATE, AUTHORIZATION = "/order-plz", "/finalize-order/", "/certZ/", "/authZ/"


def backoffs(env: AcmeEnvironment) -> dict[str, tuple[int, int]]:
    """Return scope -> (failures, seconds from now)."""
    with env.database.read() as conn:
        found = acme_orders.backoffs(conn)
    return {b.scope: (b.failures, b.until - env.context.now_epoch) for b in found}


def test_lineage_of_another_worker_is_busy_until_its_lease_ends(env: AcmeEnvironment) -> None:
    lineage = env.lineage("1001", ["shop.test"])
    with env.context.lineage_lock("shop.test"):
        done = env.order(lineage)
    assert done.state == "busy" and env.orders(lineage) == []
    # The lease of another machine is respected until it ends.
    with env.database.write() as tx:
        order = acme_orders.intend(
            tx,
            {
                "lineage_id": lineage,
                "account_id": env.row(lineage).account_id,
                "reason": "x",
                "names": "shop.test",
            },
        )
        tx.conn.exec_driver_sql(
            f"UPDATE acme_order SET holder = 'elsewhere token' WHERE id = {order.id}"
        )
    assert env.order(lineage).state == "busy"
    env.given = {"clock": lambda: system_clock() + timedelta(minutes=20)}
    assert env.order(lineage).state == "issued"


def test_profile_that_the_ca_does_not_offer_is_refused_before_the_order(
    database: Database, settings: Settings, tmp_path: Path, ari_ca: Acme2certifier
) -> None:
    env = make_environment(database, settings, tmp_path, ari_ca.directory, ari_ca.ca_file)
    env.client("1001", "shop.test")
    env.register()
    done = env.order(env.lineage("1001", ["shop.test"], profile="longlived"))
    assert (
        done.state == "failed"
        and "has no profile 'longlived'" in done.message
        and "classic, shortlived" in done.message
    )


def test_name_of_another_client_is_not_ordered(env: AcmeEnvironment) -> None:
    env.client("1002")
    lineage = env.lineage("1001", ["shop.test"])
    with env.database.write() as tx:
        domains.edit(tx, "shop.test", {"client": "1002"})
    done = env.order(lineage)
    assert done.state == "held" and env.orders(lineage) == [], done
    assert any("belongs to another client now" in line for line in env.staff_news().lines)


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/nonce-plz", faults.answer(503, "down")),
        (ORDER, faults.answer(502, "<html>Bad gateway</html>", "text/html")),
        (AUTHORIZATION, faults.answer(500, b"")),
        ("/chalZ/", faults.answer(503)),
        (FINALIZE, faults.answer(500, "{}")),
        (CERTIFICATE, faults.answer(504, "late")),
        ("/my-order/", faults.reset()),
        (CERTIFICATE, faults.truncated()),
        (AUTHORIZATION, faults.truncated()),
        (ORDER, faults.reset()),
        (FINALIZE, faults.dropped()),
        ("/dir", faults.answer(200, "<html>", "text/html")),
        (CERTIFICATE, faults.huge(5_000_000)),
        (AUTHORIZATION, faults.huge(5_000_000, chunked=True)),
        (ORDER, faults.answer(200, "[]", "application/json")),
        (AUTHORIZATION, faults.answer(200, '{"status": "dancing"}', "application/json")),
        (
            "/my-order/",
            faults.answer(
                200,
                '{"status": "valid", "authorizations": ["file:///etc/passwd"]}',
                "application/json",
            ),
        ),
    ],
)
def test_order_that_failed_once_is_completed_by_the_next_run(
    proxied_env: AcmeEnvironment, proxy: Proxy, path: str, fault: faults.Fault
) -> None:
    """The failure is one sentence, and the next run uses the same order and the same key."""
    lineage = proxied_env.lineage("1001", ["shop.test"])
    rule = Rule(fault, path, nth=(1,))
    proxy.rules.append(rule)
    done = proxied_env.order(lineage)
    assert rule.fired == 1
    assert done.state in ("failed", "issued"), done
    if done.state == "issued":
        return
    assert (
        "\x1b" not in done.message and "Traceback" not in done.message and len(done.message) < 1500
    )
    assert [o for o in proxied_env.orders(lineage) if o.holder and o.ended_at is None] == []
    with proxied_env.database.write() as tx:
        acme_orders.forgive(tx, proxy.directory, [""])
    again = proxied_env.order(lineage)
    assert again.state == "issued", (done.message, again.message)
    keys = list((proxied_env.context.base / "keys").glob("order-*/*.key"))
    assert len(keys) == len(proxied_env.orders(lineage))
    assert len(proxied_env.orders(lineage)) == 1 or path == "/my-order/"


@pytest.mark.parametrize("as_date", [False, True])
def test_rate_limit_holds_back_its_domain_and_no_other(
    proxied_env: AcmeEnvironment, proxy: Proxy, as_date: bool
) -> None:
    first, second = (
        proxied_env.lineage("1001", ["shop.test"]),
        proxied_env.lineage("1001", ["other.test"]),
    )
    moment = system_clock()
    proxied_env.given = {"clock": lambda: moment}
    detail = "too many certificates already issued for shop.test"
    proxy.rules.append(
        Rule(faults.rate_limited(7200, as_date=as_date, detail=detail), ORDER, nth=(1,))
    )
    done = proxied_env.order(first)
    assert (
        done.state == "failed"
        and "a rate limit of the CA is reached" in done.message
        and detail in done.message
    )
    count, seconds = backoffs(proxied_env)["domain:shop.test"]
    assert count == 1 and 7100 < seconds < 7200 * 1.11
    asked = len(proxy.to(ORDER, "POST"))
    waiting = proxied_env.order(first)
    assert waiting.state == "waits" and waiting.until is not None
    assert len(proxy.to(ORDER, "POST")) == asked, "the CA was asked again before its time"
    assert proxied_env.order(second).state == "issued", "a limit of one name kept another one back"


def test_paused_account_backs_off_longer_each_time(
    proxied_env: AcmeEnvironment, proxy: Proxy
) -> None:
    proxy.rules.append(
        Rule(
            faults.problem(
                429,
                "rateLimited",
                "Your account is temporarily prevented from requesting certificates. Visit"
                " https://ca.example/unpause to unpause",
            ),
            ORDER,
        )
    )
    lineage, moment = proxied_env.lineage("1001", ["shop.test"]), system_clock()
    hours = []
    for _ in range(7):
        proxied_env.given = {"clock": lambda at=moment: at, "random": lambda: 0.0}
        done = proxied_env.order(lineage)
        assert done.until is not None
        wait = done.until - int(moment.timestamp())
        hours.append(round(wait / 3600))
        moment += timedelta(seconds=wait + 1)
    assert hours == [1, 2, 4, 8, 16, 32, 32]
    assert list(backoffs(proxied_env)) == ["domain:shop.test"], (
        "a paused name holds back no other name"
    )


def test_message_of_a_ca_is_shown_and_not_executed(
    proxied_env: AcmeEnvironment, proxy: Proxy, tmp_path: Path
) -> None:
    owned = tmp_path / "owned"
    evil = f"\x1b]0;owned\x07\x1b[2J$(touch {owned}) `touch {owned}` {{0.__class__}} %s \u202e"
    proxy.rules.append(
        Rule(
            faults.problem(
                400,
                "malformed",
                evil,
                subproblems=[
                    {
                        "type": "urn:ietf:params:acme:error:dns",
                        "detail": evil,
                        "identifier": {"type": "dns", "value": evil},
                    }
                ],
            ),
            ORDER,
        )
    )
    done = proxied_env.order(proxied_env.lineage("1001", ["shop.test"]))
    assert done.state == "failed"
    assert (
        f"$(touch {owned})" in done.message
        and "\x1b" not in done.message
        and "\u202e" not in done.message
    )
    assert not owned.exists()
