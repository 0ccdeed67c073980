"""Keys and signatures that browsers cannot read, although the library reads them.

``tests/certmgr/browser/keys.py`` compares them with the installed Chromium.
"""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa

from certmgr.checks.browser_rules import key_usage_findings, path_rule_findings
from certmgr.checks.certificate import leaf_findings
from certmgr.x509.anchors import Anchors
from certmgr.x509.browser_keys import EXPLICIT_CURVE, KEY_TOO_LARGE, key_problem, usual_pss
from certmgr.x509.named_path import build_path
from certmgr.x509.trust import PathVerdict
from inventory.certificates import Certificate, parse
from inventory.targets import Target
from notifiers.wording.sentences import client_instruction, instruction, sentence
from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.keys import compressed, explicit
from tests.certmgr.browser.pki import ca, key, leaf
from tests.certmgr.tls_servers import HOST
from tests.clock import clock

_SHA256, _SHA384 = "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2"


def _with_key(public: bytes) -> Certificate:
    return parse(leaf(HOST, key=public).chain[0])


def _rsa_public(bits: int, exponent: int = 65537) -> bytes:
    numbers = der.seq(der.integer(2 ** (bits - 1) + 1), der.integer(exponent))
    algorithm = der.seq(der.oid("1.2.840.113549.1.1.1"), der.NULL)
    return der.seq(algorithm, tlv(0x03, b"\0" + numbers))


def _ml_dsa_public() -> bytes:
    return der.public_key(mldsa.MLDSA65PrivateKey.generate())


@pytest.mark.parametrize(
    ("bits", "exponent", "problem"),
    [
        (2048, 3, ""),
        (16384, 65537, ""),
        (16392, 65537, KEY_TOO_LARGE),
        (2048, 2**33 - 1, ""),
        (2048, 2**33 + 1, KEY_TOO_LARGE),
    ],
)
def test_rsa_key_is_refused_above_the_limits_of_browsers(
    bits: int, exponent: int, problem: str
) -> None:
    assert key_problem(_with_key(_rsa_public(bits, exponent))) == problem


def test_ec_key_is_refused_unless_it_names_its_curve() -> None:
    private = key("p256 leaf")
    assert key_problem(_with_key(explicit(private))) == EXPLICIT_CURVE
    assert key_problem(_with_key(compressed(private))) == ""


@pytest.mark.parametrize(
    ("digest", "mask", "salt", "trailer", "known"),
    [
        (_SHA256, _SHA256, 32, False, True),
        (_SHA384, _SHA384, 48, False, True),
        (_SHA256, _SHA256, 20, False, False),
        (_SHA256, _SHA256, 48, False, False),
        (_SHA256, _SHA384, 32, False, False),
        (_SHA256, _SHA256, 32, True, False),
    ],
)
def test_pss_signature_is_known_with_the_parameters_of_tls_only(
    digest: str, mask: str, salt: int, trailer: bool, known: bool
) -> None:
    fields = (
        tlv(0xA0, der.seq(der.oid(digest))),
        tlv(0xA1, der.seq(der.oid("1.2.840.113549.1.1.8"), der.seq(der.oid(mask)))),
        tlv(0xA2, der.integer(salt)),
        tlv(0xA3, der.integer(1)) if trailer else b"",
    )
    used = der.seq(der.oid("1.2.840.113549.1.1.10"), der.seq(*fields))
    signed = parse(leaf(HOST, used=used, signature_value=bytes(256)).chain[0])
    assert usual_pss(signed) == known
    found = {
        (f.code, f.severity, f.evidence.get("rule"))
        for f in path_rule_findings(signed, PathVerdict("ok", True, (signed,)), ())
    }
    assert (("certificate-malformed", "critical", "path") in found) != known


def test_signature_with_broken_pss_parameters_is_not_known() -> None:
    for fields in (b"", b"\xa0\x05", tlv(0xA0, b"") + tlv(0xA1, b"") + tlv(0xA2, b"")):
        used = der.seq(der.oid("1.2.840.113549.1.1.10"), tlv(0x30, fields))
        assert not usual_pss(parse(leaf(HOST, used=used, signature_value=bytes(9)).chain[0]))


def test_ml_dsa_key_is_named_and_not_critical() -> None:
    made = _with_key(_ml_dsa_public())
    assert made.key == "ML-DSA-65"
    found = list(leaf_findings(made, HOST, PathVerdict("ok", True), ()))
    assert [(f.code, f.severity) for f in found] == [("key-weak", "high")]
    # Chrome opens the page, so "browsers refuse" would not be true.
    assert "only the newest browsers know" in sentence(found[0], Target(HOST))


@pytest.mark.parametrize(
    ("public", "about"),
    [(_rsa_public(1000), "too weak"), (_ml_dsa_public(), "only the newest browsers know")],
    ids=["short", "ml-dsa"],
)
def test_text_about_a_key_of_a_ca_does_not_ask_for_a_new_key_of_the_server(
    public: bytes, about: str
) -> None:
    above = _with_key(public)
    verdict = PathVerdict("ok", True, (parse(leaf(HOST).chain[0]), above, above))
    found = next(
        f for f in path_rule_findings(verdict.path[0], verdict, ()) if f.code == "key-weak"
    )
    assert about in sentence(found, Target(HOST))
    assert above.subject in sentence(found, Target(HOST))
    for text in (
        instruction(found, Target(HOST)),
        client_instruction(found, Target(HOST), we_install=True),
    ):
        assert "new key" not in text and "Create" not in text


def test_key_usage_is_read_of_a_certificate_that_cannot_be_parsed() -> None:
    usage = {"usage": der.key_usage(4)}
    broken = parse(leaf(HOST, version=9, extensions=usage).chain[0])
    assert broken.parsed is None
    (found,) = key_usage_findings(broken, "TLSv1.3", None, ())
    assert found.evidence["rule"] == "key-usage"
    readable = parse(leaf(HOST, version=9).chain[0])
    assert not list(key_usage_findings(readable, "TLSv1.3", None, ()))


@pytest.mark.parametrize(
    ("refused", "end"), [(False, "missing"), (True, "anchor")], ids=["sha256", "sha1"]
)
@pytest.mark.parametrize("position", ["leaf", "issuer"])
def test_path_of_names_leads_to_the_anchor_if_browsers_verify_no_signature(
    refused: bool, end: str, position: str
) -> None:
    kind = "rsa2048 leaf"
    root = ca("Root of names", kind=kind)
    weak: dict[str, Any] = {"digest": "sha1"} if refused else {}
    issuer = ca("Issuer of names", root, kind=kind, **(weak if position == "issuer" else {}))
    wrong: dict[str, Any] = {"signature_value": bytes(256)}
    made = parse(
        leaf(HOST, issuer=issuer, **wrong, **(weak if position == "leaf" else {})).chain[0]
    )
    anchors = Anchors((), [parse(root.der)])
    path, found = build_path(made, [parse(issuer.der)], anchors, clock())
    assert found == end
    assert len(path) == (3 if refused else 1)
