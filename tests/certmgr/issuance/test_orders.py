"""Orders from a real CA, led to the certificate."""

from __future__ import annotations

from certmgr.deploy.lineage import Lineage
from tests.certmgr.issuance.shop import Shop
from tests.servers.pebble import Pebble


def test_http(place: Shop, ca: Pebble) -> None:
    done = place.order(place.lineage("1001", ["shop.test", "www.shop.test"]))
    assert done.state == "issued", done
    material = Lineage(place.office.base, "shop.test").versions()
    assert len(material) == 1
