"""Checks of a stapled response (RFC 6960 4.2), on values and on handshakes with openssl."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from certmgr.checks.actors import with_actor
from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.checks.ocsp import Staple, check
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.x509.trust import TrustStore
from inventory.certificates import parse
from inventory.targets import Target
from inventory.vocabulary import Parties
from notifiers.wording.sentences import instruction
from tests.certmgr.browser.own_tls import Flight13, accept13, extension, vector
from tests.certmgr.browser.pki import Leaf
from tests.certmgr.revocation.lists import DAY, now
from tests.certmgr.tls_servers import Stack, serve
from tests.clock import START, clock
from tests.conftest import ProbeResult
from tests.servers.real import long_lived, program, s_server, write_pair

HOST = "shop.example.test"


MUST_STAPLE = (x509.TLSFeature([x509.TLSFeatureType.status_request]), False)


OCSP_SIGNING = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)


def response(
    leaf: IssuedCertificate,
    issuer: Authority,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    at: datetime | None = None,
    days: float | None = 7,
    by: Authority | IssuedCertificate | None = None,
    sent: list[x509.Certificate] | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """Return a DER response. ``by`` signs instead of the issuer."""
    signer = by or issuer
    begin = at or now() - timedelta(hours=1)
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=leaf.certificate,
            issuer=issuer.certificate,
            algorithm=algorithm or hashes.SHA1(),
            cert_status=status,
            this_update=begin,
            next_update=None if days is None else begin + timedelta(days=days),
            revocation_time=begin - DAY if revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    )
    if sent:
        builder = builder.certificates(sent)
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def leaf(issuer: Authority) -> IssuedCertificate:
    return issuer.issue(HOST)


def judged(der: bytes | None, leaf: IssuedCertificate, issuer: Authority | None) -> Staple:
    return check(der, parse(leaf.der), parse(issuer.der) if issuer is not None else None, now())


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({}, "good"),
        ({"algorithm": hashes.SHA256()}, "good"),
        ({"days": None}, "good"),
        ({"status": ocsp.OCSPCertStatus.REVOKED}, "revoked"),
        ({"status": ocsp.OCSPCertStatus.UNKNOWN}, "unknown"),
        ({"at": START - 8 * DAY}, "expired"),
        ({"at": START + DAY}, "not-yet-valid"),
        ({"at": START - 8 * DAY, "status": ocsp.OCSPCertStatus.REVOKED}, "expired"),
        ({"by": Authority("Stranger", clock=clock)}, "bad-signature"),
    ],
)
def test_response_gets_the_state_of_its_content(
    leaf: IssuedCertificate, issuer: Authority, given: dict[str, Any], state: str
) -> None:
    found = judged(response(leaf, issuer, **given), leaf, issuer)
    assert found.state == state
    assert found.invalid == (state != "good")
    if state == "revoked":
        assert (found.reason, found.at is not None) == ("keyCompromise", True)


def test_response_for_another_certificate_is_refused(
    leaf: IssuedCertificate, issuer: Authority, root: Authority
) -> None:
    other = issuer.issue("other.example.test")
    assert judged(response(other, issuer), leaf, issuer).state == "wrong-certificate"
    namesake = Authority("Test Issuer", root)
    assert judged(response(leaf, namesake, by=issuer), leaf, issuer).state == "wrong-certificate"


def test_response_is_unchecked_without_the_issuer(
    leaf: IssuedCertificate, issuer: Authority
) -> None:
    expired = response(leaf, issuer, at=now() - 8 * DAY)
    assert judged(expired, leaf, None).state == "unchecked"
    assert judged(expired, leaf, Authority("Another", clock=clock)).state == "unchecked"


@pytest.mark.parametrize(
    ("create_responder", "state"),
    [
        (
            lambda issuer: issuer.issue(
                "ocsp.example", server_auth=False, extensions=[OCSP_SIGNING]
            ),
            "good",
        ),
        (lambda issuer: issuer.issue("ocsp.example"), "bad-signature"),
        (
            lambda issuer: issuer.issue(
                "ocsp.example", server_auth=False, extensions=[OCSP_SIGNING], days=-1
            ),
            "bad-signature",
        ),
        (
            lambda _: Authority("Test Issuer", clock=clock).issue(
                "ocsp.example", server_auth=False, extensions=[OCSP_SIGNING]
            ),
            "bad-signature",
        ),
    ],
    ids=["for that purpose", "for servers", "expired", "of a namesake"],
)
def test_delegated_responder_needs_a_valid_certificate_for_that_purpose(
    leaf: IssuedCertificate,
    issuer: Authority,
    create_responder: Callable[[Authority], IssuedCertificate],
    state: str,
) -> None:
    responder = create_responder(issuer)
    signed = response(leaf, issuer, by=responder, sent=[responder.certificate])
    assert judged(signed, leaf, issuer).state == state


def test_judgement_ends_with_the_certificate_of_the_responder(
    leaf: IssuedCertificate, issuer: Authority
) -> None:
    responder = issuer.issue("ocsp.example", server_auth=False, extensions=[OCSP_SIGNING], days=2)
    signed = response(leaf, issuer, by=responder, sent=[responder.certificate])
    assert judged(signed, leaf, issuer).until == responder.certificate.not_valid_after_utc


def test_rsa_signature_is_verified() -> None:
    authority = Authority("RSA CA", key=rsa.generate_private_key(65537, 2048), clock=clock)
    issued = authority.issue(HOST)
    signed = response(issued, authority)
    assert judged(signed, issued, authority).state == "good"
    broken = signed[:-300] + bytes([signed[-300] ^ 1]) + signed[-299:]
    assert judged(broken, issued, authority).state in ("bad-signature", "unreadable")


def test_changed_byte_never_gives_good(leaf: IssuedCertificate, issuer: Authority) -> None:
    """A hostile server may change any byte; no change raises an error."""
    signed = response(leaf, issuer, status=ocsp.OCSPCertStatus.REVOKED)
    for position in range(len(signed)):
        changed = signed[:position] + bytes([signed[position] ^ 0x41]) + signed[position + 1 :]
        assert judged(changed, leaf, issuer).state != "good", position


def test_must_staple_certificate_needs_a_response(issuer: Authority) -> None:
    strict = issuer.issue(HOST, extensions=[MUST_STAPLE])
    assert parse(strict.der).must_staple
    assert judged(None, strict, issuer).state == "missing"
    assert judged(response(strict, issuer), strict, issuer).state == "good"
    later = ocsp.OCSPResponseBuilder.build_unsuccessful(
        ocsp.OCSPResponseStatus.TRY_LATER
    ).public_bytes(Encoding.DER)
    assert judged(later, strict, issuer).state == "missing"
    plain = issuer.issue(HOST)
    assert judged(later, plain, issuer).state == "none"
    assert judged(None, plain, issuer).state == "none"


@pytest.mark.parametrize("der", [b"x", b"<html>", b"\x30\x00", b"\x30\x80" + b"0" * 70_000])
def test_invalid_response_is_unreadable(
    leaf: IssuedCertificate, issuer: Authority, der: bytes
) -> None:
    assert judged(der, leaf, issuer).state == "unreadable"


def openssl_response(
    folder: Path,
    leaf: IssuedCertificate,
    issuer: Authority,
    *,
    revoked: bool = False,
    days: int = 7,
) -> Path:
    """Return the answer of ``openssl ocsp`` from the index of a CA, and move the clock to its date.

    openssl takes that date from the system, so ``leaf`` must be valid then (:func:`long_lived`).
    """
    key = issuer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    serial = f"{leaf.certificate.serial_number:X}"
    serial = serial if len(serial) % 2 == 0 else f"0{serial}"
    state = (
        f"R\t300101000000Z\t{now():%y%m%d%H%M%S}Z,keyCompromise"
        if revoked
        else "V\t300101000000Z\t"
    )
    for name, content in (
        ("ca.pem", issuer.pem),
        ("ca.key", key),
        ("leaf.pem", leaf.certificate.public_bytes(Encoding.PEM)),
        ("index.txt", f"{state}\t{serial}\tunknown\t/CN={HOST}\n".encode()),
    ):
        (folder / name).write_bytes(content)
    command = [
        program("openssl", "openssl"),
        "ocsp",
        "-index",
        "index.txt",
        "-rsigner",
        "ca.pem",
        "-rkey",
        "ca.key",
        "-CA",
        "ca.pem",
        "-issuer",
        "ca.pem",
        "-cert",
        "leaf.pem",
        "-ndays",
        str(days),
        "-respout",
        "response.der",
        "-noverify",
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    created = ocsp.load_der_ocsp_response((folder / "response.der").read_bytes())
    clock.reset(created.produced_at_utc)
    return folder / "response.der"


def probed(
    probe: Callable[..., ProbeResult], folder: Path, leaf: IssuedCertificate, der: Path | None
) -> ProbeResult:
    """Probe a server that staples this response."""
    options = ("-status_file", str(der)) if der is not None else ()
    with s_server(*write_pair(folder / "pair", leaf), *options) as port:
        return probe(f"{HOST}:{port}")


def test_good_staple_of_openssl_is_no_finding(
    tmp_path: Path, issuer: Authority, probe: Callable[..., ProbeResult]
) -> None:
    leaf = long_lived(issuer, HOST)
    result = probed(probe, tmp_path, leaf, openssl_response(tmp_path, leaf, issuer))
    assert result.report.addresses[0].ocsp == "good"
    assert result.severe() == set()


def test_revoked_staple_of_openssl_is_two_findings(
    tmp_path: Path, issuer: Authority, probe: Callable[..., ProbeResult]
) -> None:
    leaf = long_lived(issuer, HOST)
    result = probed(probe, tmp_path, leaf, openssl_response(tmp_path, leaf, issuer, revoked=True))
    assert result.severe() == {"staple-invalid", "revoked"}
    revoked = result.codes["revoked"]
    assert (revoked.severity, revoked.evidence["reason"], revoked.evidence["source"]) == (
        "critical",
        "keyCompromise",
        "staple",
    )
    assert result.codes["staple-invalid"].evidence["state"] == "revoked"


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"at": START - 8 * DAY}, "expired"),
        ({"by": Authority("Stranger", clock=clock)}, "bad-signature"),
        ({}, ""),
    ],
)
def test_stapled_response_is_checked_in_the_handshake(
    tmp_path: Path,
    leaf: IssuedCertificate,
    issuer: Authority,
    probe: Callable[..., ProbeResult],
    given: dict[str, Any],
    state: str,
) -> None:
    der = tmp_path / "own.der"
    der.write_bytes(response(leaf, issuer, **given))
    result = probed(probe, tmp_path, leaf, der)
    assert ("staple-invalid" in result.codes) == bool(state)
    if state:
        # Firefox takes an expired one for none.
        severity = "medium" if state == "expired" else "high"
        assert result.codes["staple-invalid"].severity == severity
        assert result.codes["staple-invalid"].evidence["state"] == state
        assert result.codes["staple-invalid"].addresses == ("127.0.0.1",)


@pytest.mark.parametrize("content", [b"garbage", b"<html>", bytes(300)])
def test_staple_that_the_tls_library_cannot_parse_does_not_end_the_handshake(
    issuer: Authority, opened: Stack, probe: Callable[..., ProbeResult], content: bytes
) -> None:
    """Chromium ignores it and opens the page; Firefox does not."""
    issued = issuer.issue(HOST)
    leaf = Leaf(tuple(c.public_bytes(Encoding.DER) for c in issued.chain), issued.key_pem)
    staple = extension(5, b"\1" + vector(3, content))

    def talk(sock: socket.socket) -> None:
        flight = Flight13(entries=lambda hello: [staple] if 5 in hello else [])
        with suppress(OSError):
            accept13(sock, leaf, flight).read()

    result = probe(f"{HOST}:{serve(opened, talk)}")
    assert result.severe() == {"staple-invalid"}
    assert result.codes["staple-invalid"].evidence["state"] == "unreadable"


def test_must_staple_certificate_without_a_staple_is_a_finding(
    tmp_path: Path, issuer: Authority, probe: Callable[..., ProbeResult]
) -> None:
    strict = issuer.issue(HOST, extensions=[MUST_STAPLE])
    assert (
        probed(probe, tmp_path, strict, None).codes["staple-invalid"].evidence["state"] == "missing"
    )
    der = tmp_path / "own.der"
    der.write_bytes(response(strict, issuer, at=START - 8 * DAY))
    assert probed(probe, tmp_path, strict, der).severe() == {"staple-invalid"}
    der.write_bytes(response(strict, issuer))
    assert probed(probe, tmp_path, strict, der).severe() == set()


@pytest.mark.parametrize("responder", [False, True])
def test_must_staple_without_a_responder_needs_another_certificate(
    tmp_path: Path, issuer: Authority, probe: Callable[..., ProbeResult], responder: bool
) -> None:
    url = x509.UniformResourceIdentifier("http://ocsp.example.test/")
    access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, url)
    aia = [(x509.AuthorityInformationAccess([access]), False)] if responder else []
    strict = issuer.issue(HOST, extensions=[MUST_STAPLE, *aia])
    found = probed(probe, tmp_path, strict, None).codes["staple-invalid"]
    advice = instruction(found, Target(HOST))
    assert ("issued again without 'must-staple'" in advice) is not responder
    assert ("ssl_stapling" in advice) is responder
    # The buyer gets another certificate; a responder is asked by the host.
    parties = Parties(hosts="us", buys="client", on_our_server=True)
    actor = with_actor(found, parties, elsewhere=False, ever_had_certificate=True).actor
    assert actor == ("provider" if responder else "client")


def test_judgement_is_stable_until_the_staple_expires(
    leaf: IssuedCertificate, issuer: Authority, root: Authority
) -> None:
    """The same bytes are an error once nextUpdate has passed."""
    begin = now() - timedelta(hours=1)
    chain = tuple(c.public_bytes(Encoding.DER) for c in leaf.chain)
    result = AddressEvidence(
        "192.0.2.1", chain, "TLSv1.3", "x", "x", None, response(leaf, issuer, at=begin, days=2)
    )
    evidence = Evidence(Target(HOST), now(), Resolution("ok", ("192.0.2.1",)), (result,))
    judge = Judge(TrustStore([], [parse(root.der)]), parse)
    until = judge.judge(evidence, JudgingContext(), now()).stable_until(now())
    assert until == begin + 2 * DAY
    later = judge.judge(evidence, JudgingContext(), until + timedelta(seconds=1))
    assert [f.code for f in later.findings] == ["staple-invalid"]
