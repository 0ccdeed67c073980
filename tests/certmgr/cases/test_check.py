"""The review of uploads: each fault with a certificate of a real CA, and with its message."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.cases.check import ExpectedCertificate, UploadReview, review_upload
from certmgr.cases.intake import message_sentences
from certmgr.demo.authority import Authority, IssuedCertificate, self_signed
from certmgr.x509.csr import spki
from certmgr.x509.trust import Issuers, TrustStore
from certmgr.x509.upload import VendorUpload
from inventory.certificates import parse
from tests.clock import START, frozen

NOW = START
DAY = timedelta(days=1)
NAMES = ("shop.example.com", "www.shop.example.com")
KEY = ec.generate_private_key(ec.SECP256R1())


def run(
    root: Authority,
    issued: IssuedCertificate | list[Any],
    names: tuple[str, ...] = NAMES,
    keys: tuple[Any, ...] = (KEY,),
    public: bool = False,
    **given: Any,
) -> UploadReview:
    chain = issued if isinstance(issued, list) else list(issued.chain)
    certificates = tuple(parse(c.public_bytes(Encoding.DER)) for c in chain)
    asked = [ExpectedCertificate(i, "key", spki(k.public_key())) for i, k in enumerate(keys)]
    anchors = [parse(root.der)]
    trust = TrustStore(anchors if public else [], [] if public else anchors)
    material = VendorUpload(certificates, **given.pop("material", {}))
    return review_upload(material, asked, names, trust, Issuers(), NOW, **given)


def codes(review: UploadReview) -> set[str]:
    return {s.code for s in review.messages}


def test_requested_certificate_matches_and_its_chain_is_ordered(
    root: Authority, issuer: Authority
) -> None:
    issued = issuer.issue(*NAMES, key=KEY)
    expected = [parse(c.public_bytes(Encoding.DER)).sha256 for c in issued.chain]
    for sequence in (
        issued.chain,
        issued.chain[::-1],
        (*issued.chain[::-1], root.certificate),
    ):
        review = run(root, list(sequence))
        assert not review.refused, review.messages
        (good,) = review.matched
        assert [c.sha256 for c in good.chain] == expected, "leaf first, without the root"


def test_missing_intermediate_is_completed_if_it_is_known(
    root: Authority, issuer: Authority
) -> None:
    issued = issuer.issue(*NAMES, key=KEY)
    review = run(root, [issued.certificate])
    assert "chain-incomplete" in codes(review)
    assert review.refused
    held = Issuers()
    held.add(parse(issuer.der))
    material = VendorUpload((parse(issued.der),))
    asked = [ExpectedCertificate(1, "key", spki(KEY.public_key()))]
    trust = TrustStore([], [parse(root.der)])
    completed = review_upload(material, asked, NAMES, trust, held, NOW)
    assert not completed.refused
    assert codes(completed) == {"chain-completed"}
    assert len(completed.matched[0].chain) == 2


def _valid(issuer: Authority, begin: timedelta, end: timedelta) -> IssuedCertificate:
    return issuer.issue(*NAMES, key=KEY, not_before=NOW + begin, not_after=NOW + end)


def _with_root() -> list[Any]:
    company = Authority("Company Root", clock=frozen)
    return [company.issue(*NAMES, key=KEY).certificate, company.certificate]


FAULTS: dict[str, Callable[[Authority], Any]] = {
    "wrong-key": lambda ca: ca.issue(*NAMES),
    "names-missing": lambda ca: ca.issue("www.shop.example.com", key=KEY),
    "certificate-expired": lambda ca: _valid(ca, -90 * DAY, -DAY),
    "certificate-not-yet-valid": lambda ca: _valid(ca, 2 * DAY, 90 * DAY),
    "untrusted-root": lambda ca: _with_root(),
    "only-chain": lambda ca: [ca.certificate],
    "san-missing": lambda ca: ca.issue(*NAMES, key=KEY, san=False),
}


def require_refused(review: UploadReview, fault: str) -> None:
    """Require that the upload is refused for this fault, in complete sentences."""
    assert review.refused
    assert fault in codes(review), review.messages
    for line in message_sentences(review.messages, refusing=True):
        assert "{" not in line
        assert line.endswith((".", ")"))


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_refused_in_words_for_the_client(
    root: Authority, issuer: Authority, fault: str
) -> None:
    require_refused(run(root, FAULTS[fault](issuer)), fault)


def test_distrusted_ca_is_refused_in_words_for_the_client() -> None:
    """The anchor has the name of the distrusted CA."""
    name = "Entrust, Inc."
    anchor = Authority("Entrust Root", organisation=name, clock=frozen)
    issued = Authority("Entrust Issuing", anchor, organisation=name).issue(*NAMES, key=KEY)
    require_refused(run(anchor, issued, public=True), "ca-distrusted")
    assert "ca-distrusted" not in codes(run(anchor, issued)), "a private CA may have any name"


def test_weak_key_is_refused_in_words_for_the_client(
    root: Authority, issuer: Authority, weak_key: rsa.RSAPrivateKey
) -> None:
    issued = issuer.issue(*NAMES, key=weak_key)
    require_refused(run(root, issued, keys=(weak_key,)), "key-weak")


def test_self_signed_leaf_is_refused(root: Authority) -> None:
    issued = self_signed(*NAMES, clock=frozen)
    review = run(root, issued, keys=(issued.key,))
    assert "self-signed" in codes(review)
    assert review.refused


def test_lifetime_beyond_the_limit_is_a_fault_of_a_public_ca_alone(
    root: Authority, issuer: Authority
) -> None:
    issued = _valid(issuer, -DAY, 400 * DAY)
    assert "validity-too-long" in codes(run(root, issued, public=True))
    assert "validity-too-long" not in codes(run(root, issued)), "a private CA is not bound"


def test_remarks_do_not_refuse(root: Authority, issuer: Authority) -> None:
    issued = issuer.issue(*NAMES, "blog.shop.example.com", key=KEY, days=30)
    review = run(root, issued, ends=NOW + 60 * DAY, material={"remarks": ("key-sent",)})
    assert not review.refused
    assert codes(review) == {"key-sent", "names-extra", "ends-no-later"}


def test_each_key_type_has_its_certificate_and_one_may_be_missing(
    root: Authority, issuer: Authority, rsa_key: rsa.RSAPrivateKey
) -> None:
    ec_chain = issuer.issue(*NAMES, key=KEY).chain
    both = [*ec_chain, issuer.issue(*NAMES, key=rsa_key).certificate]
    review = run(root, both, keys=(KEY, rsa_key))
    assert [g.issuance_id for g in review.matched] == [0, 1]
    assert not review.refused
    one = run(root, both[:2], keys=(KEY, rsa_key))
    assert codes(one) == {"other-key-missing"}
    assert not one.refused, "the received certificate can be installed"


def test_wildcard_name_must_be_in_the_certificate_as_it_is(
    root: Authority, issuer: Authority
) -> None:
    names = ("*.shop.example.com", "shop.example.com")
    assert not run(root, issuer.issue(*names, key=KEY), names).refused
    narrower = issuer.issue("a.shop.example.com", "shop.example.com", key=KEY)
    assert "names-missing" in codes(run(root, narrower, names))
