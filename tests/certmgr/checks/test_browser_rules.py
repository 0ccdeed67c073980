"""Rules of browsers that depend on the root or on dates: a public root cannot be added to Chromium.

What holds under any root is compared with Chromium in tests/certmgr/diagnose/test_chrome_pages.py.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certmgr.checks.browser_rules import path_rule_findings
from certmgr.checks.certificate import leaf_findings
from certmgr.checks.lifetimes import refused_by_browsers
from certmgr.demo.authority import Authority
from certmgr.x509.trust import PathVerdict
from inventory.certificate_signatures import issued_by
from inventory.certificates import parse
from tests.certmgr.odd_chains import Ca, names, raw
from tests.certmgr.tls_servers import HOST
from tests.clock import clock, frozen

DAY = timedelta(days=1)


@pytest.mark.parametrize(("public", "severity"), [(True, "critical"), (False, "high")])
@pytest.mark.parametrize("bits", [1024, 2047])
def test_short_rsa_key_is_critical_under_a_public_root(
    issuer: Authority, public: bool, severity: str, bits: int
) -> None:
    leaf = parse(issuer.issue(HOST, key=rsa.generate_private_key(65537, bits)).der)
    (found,) = path_rule_findings(leaf, PathVerdict("ok", True, public=public), ())
    assert (found.code, found.severity) == ("key-weak", severity)


@pytest.mark.parametrize(("days", "severity"), [(300, "high"), (396, "high"), (500, "critical")])
def test_lifetime_is_critical_above_the_limit_that_browsers_enforce(
    issuer: Authority, days: int, severity: str
) -> None:
    leaf = parse(issuer.issue(HOST, not_before=clock() - DAY, days=days).der)
    found = {f.code: f for f in leaf_findings(leaf, HOST, PathVerdict("ok", True, public=True), ())}
    assert found["validity-too-long"].severity == severity


def test_enforced_lifetime_is_that_of_the_date_of_issue() -> None:
    start = clock().replace(year=2019)
    assert not refused_by_browsers(start, start + 800 * DAY)
    assert refused_by_browsers(start, start + 900 * DAY)


@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_outdated_signature_is_verified_so_that_it_can_be_named(digest: str) -> None:
    root = Ca("Root", frozen, key=rsa.generate_private_key(65537, 2048))
    other = Ca("Root", frozen, key=rsa.generate_private_key(65537, 2048))
    child = parse(root.below("Issuer", digest=digest).der)
    assert issued_by(child, parse(root.der))
    assert not issued_by(child, parse(other.der))


def test_outdated_ecdsa_signature_is_verified() -> None:
    root, other = Ca("Root", frozen), Ca("Root", frozen)
    child = parse(root.below("Issuer", digest="sha1").der)
    assert issued_by(child, parse(root.der))
    assert not issued_by(child, parse(other.der))


def test_malformed_extension_does_not_hide_the_others() -> None:
    root = Ca("Root", frozen, key=ec.generate_private_key(ec.SECP256R1()))
    _, chain = root.leaf(names(HOST, "192.0.2.1"), raw("2.5.29.31", "0500"))
    leaf = parse(chain[0])
    assert (leaf.dns_names, leaf.ip_names, leaf.server_auth) == ((HOST,), ("192.0.2.1",), True)
    assert leaf.unreadable == {"2.5.29.31"}
    assert leaf.well_formed and leaf.extensions_readable


@pytest.mark.parametrize("cut", [*range(1, 60), 200, 300])
def test_truncated_certificate_never_raises(cut: int) -> None:
    _, chain = Ca("Root", frozen).leaf(names(HOST), raw("2.5.29.35", "0500"))
    broken = parse(chain[0][:-cut])
    (found,) = leaf_findings(broken, HOST, PathVerdict("unreadable", None), ())
    assert (found.code, found.severity) == ("certificate-malformed", "critical")
    assert found.evidence["rule"] == "outline"
