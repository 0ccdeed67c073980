"""Revocation at a CA, and the replacement of the certificate."""

from __future__ import annotations

from certmgr.acme.orders.revoke import REASONS, revoke
from certmgr.acme.renewal.renewal_run import RenewalRunner
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.servers.pebble import Pebble


def test_reasons_are_those_of_rfc_5280() -> None:
    assert REASONS == {
        "unspecified": 0,
        "keyCompromise": 1,
        "affiliationChanged": 3,
        "superseded": 4,
        "cessationOfOperation": 5,
    }


def test_revoked_certificate_is_replaced_by_the_next_run(env: AcmeEnvironment, ca: Pebble) -> None:
    env.unwatch("shop.test")
    lineage = env.lineage("1001", ["shop.test"])
    RenewalRunner(env.context).run_due()
    for by, reason in (("account", "superseded"), ("key", "keyCompromise")):
        before = env.row(lineage).sha256
        done = revoke(env.context, "shop.test", reason, by=by)
        assert done.sha256 == before and not done.already
        assert ca.status(int(done.serial, 16))["Status"] == "Revoked"
        assert revoke(env.context, "shop.test", reason, by=by).already
        summary = RenewalRunner(env.context).run_due()
        assert summary.planned == 1 and env.row(lineage).sha256 != before, summary
        assert env.orders(lineage)[0].reason == "it is revoked"
    assert before is not None
    assert before in env.row(lineage).compromised
