"""tls-alpn-01, for names and an address."""

from __future__ import annotations

from tests.certmgr.acme.shop import Shop, leaf, names


def test_names_and_an_address_are_proved_by_tls_alpn(place: Shop) -> None:
    lineage = place.lineage("1001", ["shop.test", "www.shop.test", "127.0.0.1"], solver="alpn")
    done = place.order(lineage)
    assert done.state == "issued", done
    assert names(leaf(place, lineage)) == {"shop.test", "www.shop.test", "127.0.0.1"}
