"""Revocation at a CA, and what follows."""

from __future__ import annotations

from certmgr.acme.renewal_run import RenewalRunner
from certmgr.acme.revoke import REASONS, revoke
from tests.certmgr.acme.shop import Shop
from tests.servers.pebble import Pebble


def test_reasons_are_those_of_rfc_5280() -> None:
    assert REASONS == {
        "unspecified": 0,
        "keyCompromise": 1,
        "affiliationChanged": 3,
        "superseded": 4,
        "cessationOfOperation": 5,
    }


def test_revoked_certificate_is_replaced_by_the_next_run(place: Shop, ca: Pebble) -> None:
    place.unwatch("shop.test")
    lineage = place.lineage("1001", ["shop.test"])
    RenewalRunner(place.office).due()
    for by, reason in (("account", "superseded"), ("key", "keyCompromise")):
        before = place.row(lineage)["sha256"]
        done = revoke(place.office, "shop.test", reason, by=by)
        assert done.sha256 == before and not done.already
        assert ca.status(int(done.serial, 16))["Status"] == "Revoked"
        assert revoke(place.office, "shop.test", reason, by=by).already
        summary = RenewalRunner(place.office).due()
        assert summary.planned == 1 and place.row(lineage)["sha256"] != before, summary
        assert place.orders(lineage)[0]["reason"] == "it is revoked"
    assert before in place.row(lineage)["compromised"]
