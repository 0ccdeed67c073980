"""Is it what was asked for? Each fault with a certificate of a real CA, and the words for the client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.cases.check import Asked, Verdict, judge
from certmgr.cases.csr import make, read, spki
from certmgr.cases.intake import sentences
from certmgr.cases.material import Material
from certmgr.checks.trust import Issuers, TrustStore
from certmgr.demo.authority import Authority, Issued, self_signed
from inventory.certificates import parse
from inventory.errors import UsageError
from tests.clock import clock

NOW = clock().replace(microsecond=0)
NAMES = ("shop.example.com", "www.shop.example.com")
KEY = ec.generate_private_key(ec.SECP256R1())
WEAK = rsa.generate_private_key(65537, 1024)


def run(
    root: Authority,
    issued: Issued | list[Any],
    names: tuple[str, ...] = NAMES,
    keys: tuple[Any, ...] = (KEY,),
    public: bool = False,
    **given: Any,
) -> Verdict:
    chain = issued if isinstance(issued, list) else list(issued.chain)
    certificates = tuple(parse(c.public_bytes(Encoding.DER)) for c in chain)
    asked = [Asked(i, "key", spki(k.public_key())) for i, k in enumerate(keys)]
    anchors = [parse(root.der)]
    trust = TrustStore(anchors if public else [], [] if public else anchors)
    return judge(Material(certificates, **given.pop("material", {})), asked, names, trust, Issuers(), NOW, **given)


def codes(verdict: Verdict) -> set[str]:
    return {s.code for s in verdict.said}


def test_what_was_asked_for_is_good_and_its_chain_in_order(root: Authority, issuer: Authority) -> None:
    issued = issuer.issue(*NAMES, key=KEY)
    for order in (issued.chain, issued.chain[::-1], (*issued.chain[::-1], root.certificate)):
        verdict = run(root, list(order))
        assert not verdict.refused, verdict.said
        (good,) = verdict.good
        assert [c.sha256 for c in good.chain] == [parse(c.public_bytes(Encoding.DER)).sha256 for c in issued.chain], (
            "leaf first, without the root"
        )


def test_a_missing_intermediate_is_completed_where_we_hold_it(root: Authority, issuer: Authority) -> None:
    issued = issuer.issue(*NAMES, key=KEY)
    alone = [issued.certificate]
    verdict = run(root, alone)
    assert "chain-incomplete" in codes(verdict)
    assert verdict.refused
    held = Issuers()
    held.add(parse(issuer.der))
    material = Material((parse(issued.der),))
    completed = judge(material, [Asked(1, "key", spki(KEY.public_key()))], NAMES, TrustStore([], [parse(root.der)]), held, NOW)
    assert not completed.refused
    assert codes(completed) == {"chain-completed"}
    assert len(completed.good[0].chain) == 2


FAULTS: dict[str, Callable[[Authority, Authority], Any]] = {
    "wrong-key": lambda root, ca: ca.issue(*NAMES),
    "names-missing": lambda root, ca: ca.issue("www.shop.example.com", key=KEY),
    "certificate-expired": lambda root, ca: ca.issue(*NAMES, key=KEY, not_before=NOW - timedelta(days=90), not_after=NOW - timedelta(days=1)),
    "certificate-not-yet-valid": lambda root, ca: ca.issue(*NAMES, key=KEY, not_before=NOW + timedelta(days=2), not_after=NOW + timedelta(days=90)),
    "untrusted-root": lambda root, ca: _with_root(Authority("Company Root", clock=clock), KEY),
    "ca-distrusted": lambda root, ca: Authority("Entrust Issuing", Authority("Entrust Root", organisation="Entrust, Inc.", clock=clock), organisation="Entrust, Inc.").issue(*NAMES, key=KEY),
    "key-weak": lambda root, ca: ca.issue(*NAMES, key=WEAK),
    "only-chain": lambda root, ca: [ca.certificate],
    "san-missing": lambda root, ca: ca.issue(*NAMES, key=KEY, san=False),
}  # fmt: skip


def _with_root(company: Authority, key: Any) -> list[Any]:
    issued = company.issue(*NAMES, key=key)
    return [issued.certificate, company.certificate]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_refused_in_words_for_the_client(root: Authority, issuer: Authority, fault: str) -> None:
    issued = FAULTS[fault](root, issuer)
    anchor = root
    if fault == "ca-distrusted":
        # The anchor bears the name of the distrusted CA.
        anchor = Authority("Entrust Root", organisation="Entrust, Inc.", clock=clock)
        issued = Authority("Entrust Issuing", anchor, organisation="Entrust, Inc.").issue(*NAMES, key=KEY)
    verdict = run(anchor, issued, keys=(WEAK,) if fault == "key-weak" else (KEY,))
    assert verdict.refused
    assert fault in codes(verdict), verdict.said
    for line in sentences(verdict.said, refusing=True):
        assert "{" not in line
        assert line.endswith((".", ")"))


def test_a_self_signed_leaf(root: Authority) -> None:
    issued = self_signed(*NAMES, clock=clock)
    verdict = run(root, issued, keys=(issued.key,))
    assert "self-signed" in codes(verdict)
    assert verdict.refused


def test_a_public_certificate_that_lives_too_long(root: Authority, issuer: Authority) -> None:
    issued = issuer.issue(*NAMES, key=KEY, not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=400))
    assert "validity-too-long" in codes(run(root, issued, public=True))
    assert "validity-too-long" not in codes(run(root, issued)), "a private CA is not bound"


def test_remarks_do_not_refuse(root: Authority, issuer: Authority) -> None:
    issued = issuer.issue(*NAMES, "blog.shop.example.com", key=KEY, days=30)
    verdict = run(root, issued, ends=NOW + timedelta(days=60), material={"remarks": ("key-sent",)})
    assert not verdict.refused
    assert codes(verdict) == {"key-sent", "names-extra", "ends-no-later"}


def test_a_certificate_for_each_key_type(root: Authority, issuer: Authority) -> None:
    other = rsa.generate_private_key(65537, 2048)
    both = [*issuer.issue(*NAMES, key=KEY).chain, issuer.issue(*NAMES, key=other).certificate]
    verdict = run(root, both, keys=(KEY, other))
    assert [g.issuance_id for g in verdict.good] == [0, 1]
    assert not verdict.refused
    one = run(root, both[:2], keys=(KEY, other))
    assert codes(one) == {"other-key-missing"}
    assert not one.refused, "what came can be installed"


def test_a_wildcard_name_must_stand_there_as_it_is(root: Authority, issuer: Authority) -> None:
    names = ("*.shop.example.com", "shop.example.com")
    assert not run(root, issuer.issue(*names, key=KEY), names).refused
    verdict = run(root, issuer.issue("a.shop.example.com", "shop.example.com", key=KEY), names)
    assert "names-missing" in codes(verdict)


# -- CSRs ------------------------------------------------------------------------------------------------------------------


def test_a_csr_of_ours_is_read_back() -> None:
    found = read(make(KEY, [*NAMES, "192.0.2.1"], organisation="Example GmbH", country="de"), [*NAMES, "192.0.2.1"])
    assert found.problems == ()
    assert found.key == "EC P-256"
    assert set(found.names) == {*NAMES, "192.0.2.1"}


def test_a_client_csr_with_faults() -> None:
    pem = make(KEY, ["shop.example.com", "evil.example.com"])
    assert [c for c, _ in read(pem, NAMES).problems] == ["csr-names", "csr-extra"]
    assert [c for c, _ in read(make(WEAK, NAMES), NAMES).problems] == ["csr-key"]
    from cryptography import x509

    der = bytearray(x509.load_pem_x509_csr(make(KEY, NAMES)).public_bytes(Encoding.DER))
    der[-1] ^= 1
    assert "csr-signature" in [c for c, _ in read(bytes(der), NAMES).problems]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        b"\x30" * 100,
        b"\0" * 70_000,
    ],
)
def test_what_is_no_csr(data: bytes) -> None:
    with pytest.raises(UsageError):
        read(data, NAMES)


def test_subject_fields_that_cannot_be_so() -> None:
    with pytest.raises(UsageError, match="not a country"):
        make(KEY, NAMES, country="Germany")
    with pytest.raises(UsageError, match="limit is 64"):
        make(KEY, NAMES, organisation="x" * 65)
    long = "a" * 60 + ".example.com"
    assert read(make(KEY, [long]), [long]).problems == (), "a name that does not fit the common name stands in the SAN alone"
