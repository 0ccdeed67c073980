"""Certificate chains that a CA sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.acme.orders import received
from certmgr.demo.authority import Authority
from certmgr.x509.csr import spki
from inventory.clock import system_clock
from inventory.errors import CertmgrError

DAY = timedelta(days=1)


def _pem(*certificates: Any) -> bytes:
    return b"".join(c.public_bytes(Encoding.PEM) for c in certificates)


def test_chain_in_any_order_is_sorted_for_a_server() -> None:
    root = Authority("Root R")
    middle = Authority("Middle", root)
    issuer = Authority("Issuer", middle)
    made = issuer.issue("a.test", days=30)
    key = spki(made.key.public_key())
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        chain = received.read(
            _pem(*(made.chain[i] for i in order), root.certificate), key, ["a.test"], system_clock()
        )
        assert [c.der for c in chain.certificates] == [
            c.public_bytes(Encoding.DER) for c in made.chain
        ]
        assert chain.top == "Root R"


def test_chain_that_does_not_match_the_request_is_refused() -> None:
    root = Authority("Root")
    issuer, other = Authority("Issuer", root), Authority("Other", root)
    made, stranger = issuer.issue("a.test", days=30), issuer.issue("a.test", days=30)
    now, key = system_clock(), spki(made.key.public_key())
    wrong: list[tuple[bytes, list[str], datetime, str]] = [
        (_pem(*stranger.chain), ["a.test"], now, "another key"),
        (_pem(*made.chain), ["a.test", "b.test"], now, "lacks b.test"),
        (_pem(*made.chain), ["b.test"], now, "lacks b.test"),
        (_pem(made.certificate, other.certificate), ["a.test"], now, "none of the certificates"),
        (_pem(*made.chain), ["a.test"], now - 40 * DAY, "the clock of this machine"),
        (_pem(*made.chain), ["a.test"], now + 60 * DAY, "the clock of this machine"),
        (b"no pem", ["a.test"], now, "not a certificate chain"),
        (_pem(*[made.certificate] * 11), ["a.test"], now, "limit is 10"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            ["a.test"],
            now,
            "cannot be parsed",
        ),
    ]
    for pem, names, at, words in wrong:
        with pytest.raises(CertmgrError, match=words):
            received.read(pem, key, names, at)
    extra = issuer.issue("a.test", "c.test", days=30)
    with pytest.raises(CertmgrError, match=r"not requested: c\.test"):
        received.read(_pem(*extra.chain), spki(extra.key.public_key()), ["a.test"], now)


def test_preferred_chain_is_chosen_if_it_is_offered() -> None:
    roots = [Authority("Old Root"), Authority("New Root")]
    key = Authority("x").key
    chains = []
    for root in roots:
        issuer = Authority("Issuer", root, key=key)
        made = issuer.issue("a.test", days=30)
        chains.append(
            received.read(
                _pem(*made.chain), spki(made.key.public_key()), ["a.test"], system_clock()
            )
        )
    assert received.choose(chains, None) == (chains[0], "")
    assert received.choose(chains, "new root") == (chains[1], "")
    chosen, why = received.choose(chains, "Third")
    assert chosen is chains[0] and "Old Root, New Root" in why


@pytest.mark.parametrize(
    ("asked", "sent", "remark"),
    [
        (["a.test"], ["a.test", "www.a.test"], "the CA added www.a.test"),
        (["www.a.test"], ["a.test", "www.a.test"], "the CA added a.test"),
        (["a.test", "*.a.test"], ["a.test", "*.a.test"], ""),
        (
            ["a.test", "www.a.test", "*.a.test"],
            ["a.test", "*.a.test"],
            "the CA left out www.a",
        ),
    ],
)
def test_other_names_of_the_same_client_are_a_remark(
    asked: list[str], sent: list[str], remark: str
) -> None:
    made = Authority("Issuer", Authority("Root")).issue(*sent, days=30)
    chain = received.read(
        _pem(*made.chain),
        spki(made.key.public_key()),
        asked,
        system_clock(),
        lambda name: name.endswith("a.test"),
    )
    assert chain.remark.startswith(remark) and bool(chain.remark) == bool(remark)


@pytest.mark.parametrize("extra", ["b.test", "*.b.test", "nota.test", "192.0.2.1"])
def test_certificate_with_a_name_of_another_client_is_refused(extra: str) -> None:
    made = Authority("Issuer", Authority("Root")).issue("a.test", extra, days=30)
    with pytest.raises(CertmgrError, match="not requested"):
        received.read(
            _pem(*made.chain),
            spki(made.key.public_key()),
            ["a.test"],
            system_clock(),
            lambda name: name.removeprefix("*.") == "a.test" or name.endswith(".a.test"),
        )
