"""tls-alpn-01, for names and an address."""

from __future__ import annotations

from tests.certmgr.acme.shop import AcmeEnvironment, leaf, names


def test_names_and_an_address_are_validated_by_tls_alpn(env: AcmeEnvironment) -> None:
    lineage = env.lineage("1001", ["shop.test", "www.shop.test", "127.0.0.1"], solver="alpn")
    done = env.order(lineage)
    assert done.state == "issued", done
    assert names(leaf(env, lineage)) == {"shop.test", "www.shop.test", "127.0.0.1"}
