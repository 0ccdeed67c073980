"""What browsers enforce of the certificates of a path, beyond the path itself. Pure.

Keys, signature algorithms, key usage, extended key usage, and extensions that they must understand.
The rules are those of Chrome (BoringSSL's path validation, and the checks of its network stack).
``tests/certmgr/diagnose/test_chrome_pages.py`` holds them to the installed Chromium.

The evidence of ``certificate-malformed`` has ``rule``, the kind of rule that is broken:

- outline: the TLS library of the browser cannot read the key or the key usage of the leaf;
- format: the certificate cannot be parsed as a whole;
- key-usage: the key usage does not allow the handshake;
- extension: an extension of the leaf cannot be parsed;
- issuer-format: a certificate of the CA cannot be parsed, so that browsers ignore it;
- path: a constraint of the path.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from cryptography.x509.oid import ExtensionOID

from certmgr.checks.transport import finding, unreadable_rule
from certmgr.x509.browser_keys import SIGNATURES, key_problem, usual_pss
from certmgr.x509.equivalent_path import APPLICATION_POLICIES
from certmgr.x509.name_constraints import readable as readable_constraints
from certmgr.x509.trust import PathVerdict
from inventory.certificate_extensions import raw_key_usage
from inventory.certificate_fields import ML_DSA
from inventory.certificates import Certificate
from inventory.distinguished_names import is_name
from inventory.vocabulary import Finding, Severity

# A certificate of a server must fit the signature algorithms that Chrome offers in the handshake. A
# CA may also use P-521.
_LEAF_CURVES = frozenset({"EC P-256", "EC P-384"})
_CA_CURVES = _LEAF_CURVES | {"EC P-521"}
# Keys that Chrome offers in the handshake and accepts of a CA, and other browsers do not know yet.
_POST_QUANTUM = "ML-DSA"
# The "variant" of a key-weak that is not about a leaf's key which all browsers refuse.
NEW_KIND, CA_KEY, CA_NEW_KIND = "new-kind", "ca", "ca-new-kind"
# Chrome refuses shorter RSA keys of any CA, and those below the second limit under public roots.
_MIN_RSA_BITS, _MIN_PUBLIC_RSA_BITS = 1024, 2048
# Cipher suites in which the client encrypts with the key of the certificate.
_STATIC_RSA = frozenset({"AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA"})

_E = ExtensionOID
_KEY_USAGE = _E.KEY_USAGE.dotted_string
_SAN = _E.SUBJECT_ALTERNATIVE_NAME.dotted_string
# Extensions that path validation processes. Any other one must not be critical (RFC 5280 4.2).
_PROCESSED = frozenset(
    oid.dotted_string
    for oid in (
        _E.SUBJECT_ALTERNATIVE_NAME,
        _E.KEY_USAGE,
        _E.EXTENDED_KEY_USAGE,
        _E.BASIC_CONSTRAINTS,
        _E.NAME_CONSTRAINTS,
        _E.CERTIFICATE_POLICIES,
        _E.POLICY_MAPPINGS,
        _E.POLICY_CONSTRAINTS,
        _E.INHIBIT_ANY_POLICY,
    )
)
# Extensions that Chrome parses. It ignores what any other one contains.
_PARSED = _PROCESSED | {
    oid.dotted_string
    for oid in (
        _E.AUTHORITY_KEY_IDENTIFIER,
        _E.SUBJECT_KEY_IDENTIFIER,
        _E.AUTHORITY_INFORMATION_ACCESS,
    )
}
NOT_FOR_SERVERS = "the extended key usage does not allow a server"
CA_NOT_FOR_SERVERS = "the extended key usage of a CA does not allow servers"
NO_SIGNATURE_USE = "the key usage does not allow digital signatures"
NO_ENCRYPTION_USE = "the key usage does not allow key encipherment"
UNKNOWN_CRITICAL = "a critical extension is not known to browsers"
UNKNOWN_TO_FIREFOX = "a critical extension is not known to Firefox (application policies)"
SAN_NOT_CRITICAL = "the subject is empty, and the subject alternative names are not critical"
ALGORITHMS_DIFFER = "a certificate of the path names two different signature algorithms"
NAME_DIFFERS = "the name of the issuer is written in another way than in its certificate (Firefox)"
ISSUER_NAMELESS = "the name of the issuer is empty (Firefox)"
CA_UNREADABLE = "a certificate of the CA cannot be read"
NAME_UNREADABLE = "the subject or the issuer has a value that browsers cannot read"
PSS_PARAMETERS = "an RSA-PSS signature has parameters that browsers do not accept"


def malformed_findings(leaf: Certificate, at: tuple[str, ...]) -> Iterator[Finding]:
    """Yield findings about a leaf that cannot be read completely.

    It is critical if browsers need what cannot be read. The other problems are high, because other
    clients may refuse the certificate.
    """
    problems = list(leaf.problems[:5])
    rule = ""
    if leaf.parsed is None:
        rule = unreadable_rule(leaf.der)
    elif not leaf.key_readable:
        rule = "outline"
    elif not leaf.well_formed:
        rule = "format"
    # Chrome reads both names before it verifies anything.
    elif not (is_name(leaf.subject_der) and is_name(leaf.issuer_der)):
        problems, rule = [*problems, NAME_UNREADABLE], "format"
    elif key := key_problem(leaf):
        problems, rule = [*problems, key], "outline"
    elif leaf.invalid_extensions:
        rule = "extension"
    elif _KEY_USAGE in leaf.unreadable:
        rule = "outline"
    # Without an algorithm that can be read, the signature cannot be verified.
    elif leaf.unreadable & _PARSED or not leaf.signature:
        rule = "extension"
    elif not leaf.subject and leaf.has_san and _SAN not in leaf.criticals:
        problems, rule = [*problems, SAN_NOT_CRITICAL], "extension"
    if rule:
        yield finding("certificate-malformed", at, problems=problems, rule=rule)
    elif problems:
        yield finding("certificate-malformed", at, Severity.HIGH, problems=problems)


def key_usage_findings(
    leaf: Certificate, version: str | None, cipher: str | None, at: tuple[str, ...]
) -> Iterator[Finding]:
    """Yield a finding if the key usage of the leaf does not allow the handshake.

    Chrome: ERR_SSL_KEY_USAGE_INCOMPATIBLE (RFC 8446 4.4.2.2; RFC 5246 7.4.2).

    Args:
        version: The TLS version of the handshake; None if there was none.
        cipher: Its cipher suite.
    """
    # The TLS library of the browser reads the key usage even if the rest cannot be read.
    allowed = leaf.key_usage if leaf.parsed is not None else raw_key_usage(leaf.der)
    # Without the extension, the use of the key is not restricted (RFC 5280 4.2.1.3).
    if allowed is None:
        return
    # Only the key exchange without a signature encrypts with the key of the certificate.
    encrypts = leaf.key_type == "RSA" and cipher in _STATIC_RSA
    needed = "key_encipherment" if encrypts else "digital_signature"
    if needed not in allowed:
        yield finding(
            "certificate-malformed",
            at,
            problems=[NO_ENCRYPTION_USE if encrypts else NO_SIGNATURE_USE],
            rule="key-usage",
            version=version or "",
        )


def path_rule_findings(
    leaf: Certificate, verdict: PathVerdict, at: tuple[str, ...]
) -> Iterator[Finding]:
    """Yield findings about keys, signatures, uses and critical extensions of leaf and issuers."""
    yield from _leaf_key(leaf, verdict, at)
    yield from _issuer_keys(verdict, at)
    yield from _signatures(leaf, verdict, at)
    problems = []
    # None: without extended key usage every purpose is allowed.
    if leaf.server_auth is False:
        problems.append(NOT_FOR_SERVERS)
    issuers = verdict.path[1:]
    # Chrome also applies the purposes and the critical extensions of an anchor of the user.
    checked = issuers[:-1] if verdict.public and ends_in_anchor(verdict) else issuers
    if any(c.server_auth is False for c in checked):
        problems.append(CA_NOT_FOR_SERVERS)
    below_anchor = (leaf, *(issuers[:-1] if ends_in_anchor(verdict) else issuers))
    # Browsers ignore a certificate of a CA that they cannot read, even if it is an anchor of the
    # user. So the path is missing, whatever else is wrong with that certificate.
    unreadable = [c for c in checked if not readable_issuer(c)]
    if unreadable:
        yield finding("certificate-malformed", at, problems=[CA_UNREADABLE], rule="issuer-format")
    judged = [c for c in (leaf, *checked) if c not in unreadable]
    unknown = [c for c in judged if c.criticals - _PROCESSED]
    if any(unknown_to_chrome(c) for c in unknown):
        problems.append(UNKNOWN_CRITICAL)
    if any(c.algorithms_differ for c in below_anchor):
        problems.append(ALGORITHMS_DIFFER)
    if not all(usual_pss(c) for c in below_anchor):
        problems.append(PSS_PARAMETERS)
    problems += dict.fromkeys(problem for c in issuers if (problem := key_problem(c)))
    if problems:
        yield finding("certificate-malformed", at, problems=problems, rule="path")
        return
    if unknown:
        problems.append(UNKNOWN_TO_FIREFOX)
    # Firefox and many programs compare the encoded names.
    if any(c.issuer_der != above.subject_der for c, above in pairwise(verdict.path)):
        problems.append(NAME_DIFFERS)
    if any(not c.issuer for c in below_anchor):
        problems.append(ISSUER_NAMELESS)
    if problems:
        yield finding("certificate-malformed", at, Severity.HIGH, problems=problems)


def unknown_to_chrome(certificate: Certificate) -> bool:
    """Return whether a critical extension of a certificate is one that Chrome does not process.

    CAs of Windows may make the application policies critical. Chrome takes them for processed if
    there is an extended key usage, which has the same purposes; Firefox never does.
    """
    unknown = certificate.criticals - _PROCESSED
    has_usage = certificate.server_auth is not None
    return bool(unknown - {APPLICATION_POLICIES} if has_usage else unknown)


def readable_issuer(issuer: Certificate) -> bool:
    """Return whether browsers can read a certificate of a CA."""
    return (
        issuer.well_formed
        and not issuer.invalid_extensions
        and not issuer.unreadable & _PARSED
        and readable_constraints(issuer)
    )


def ends_in_anchor(verdict: PathVerdict) -> bool:
    """Return whether the last certificate of the path is a trust anchor."""
    return len(verdict.path) > 1 and verdict.reason not in (
        "missing",
        "self-signed",
        "untrusted-root",
    )


def _leaf_key(leaf: Certificate, verdict: PathVerdict, at: tuple[str, ...]) -> Iterator[Finding]:
    kind, bits = leaf.key_type, leaf.key_bits
    if kind == "RSA":
        floor = _MIN_PUBLIC_RSA_BITS if verdict.public else _MIN_RSA_BITS
        # Under a private root, Chrome accepts 1024 bits. OpenSSL refuses less than 2048 at its
        # default security level since version 3.2, so such a key is at least a fault for other
        # clients.
        if bits < _MIN_PUBLIC_RSA_BITS:
            yield finding(
                "key-weak", at, Severity.CRITICAL if bits < floor else Severity.HIGH, key=leaf.key
            )
    elif leaf.key not in _LEAF_CURVES:
        # No handshake of a browser completes with it, or only one of the newest Chrome.
        new = leaf.key.startswith(_POST_QUANTUM)
        severity = Severity.HIGH if new else Severity.CRITICAL
        about = {"variant": NEW_KIND} if new else {}
        yield finding("key-weak", at, severity, key=leaf.key, rule="handshake", **about)


def _issuer_keys(verdict: PathVerdict, at: tuple[str, ...]) -> Iterator[Finding]:
    """Yield a finding for the first key of a CA that browsers refuse."""
    for position, issuer in enumerate(verdict.path[1:], 2):
        is_anchor = position == len(verdict.path) and ends_in_anchor(verdict)
        severity, variant = "", CA_KEY
        if issuer.key_type == "RSA":
            floor = _MIN_PUBLIC_RSA_BITS if verdict.public else _MIN_RSA_BITS
            if issuer.key_bits < floor:
                severity = Severity.CRITICAL
            # Who added an anchor knows its key.
            elif issuer.key_bits < _MIN_PUBLIC_RSA_BITS and not is_anchor:
                severity = Severity.HIGH
            rule = ""
        elif issuer.key not in _CA_CURVES:
            new = issuer.key.startswith(_POST_QUANTUM)
            severity, rule = Severity.HIGH if new else Severity.CRITICAL, "path"
            variant = CA_NEW_KIND if new else CA_KEY
        if severity:
            yield finding(
                "key-weak",
                at,
                severity,
                key=issuer.key,
                rule=rule,
                variant=variant,
                certificate=issuer.subject or issuer.sha256,
            )
            return


def _signatures(leaf: Certificate, verdict: PathVerdict, at: tuple[str, ...]) -> Iterator[Finding]:
    """Yield a finding for the first weak signature of the path.

    The signature of an anchor proves nothing and is not checked (BR 7.1.3.2.1). A leaf that the
    administrator trusts is one, too.
    """
    path = verdict.path or (leaf,)
    ends = len(path) > 1 or verdict.reason == "ok"
    signed = path[:-1] if ends and verdict.reason != "missing" else path
    for position, certificate in enumerate(signed):
        # An algorithm that cannot be read is a malformed certificate.
        known = certificate.signature in SIGNATURES
        if certificate.signature and (not known or certificate.signature in ML_DSA):
            yield finding(
                "signature-weak",
                at,
                # Only the newest Chrome verifies ML-DSA.
                Severity.HIGH if known else None,
                signature=certificate.signature,
                certificate=certificate.subject or certificate.sha256,
                # Without its issuer, browsers report the missing issuer.
                rule="path" if position + 1 < len(path) else "issuer-unknown",
            )
            return


def issuer_date_findings(
    verdict: PathVerdict, now: datetime, at: tuple[str, ...]
) -> Iterator[Finding]:
    """Yield a finding if the path was refused and a certificate of the CA is not valid yet."""
    if verdict.reason != "refused":
        return
    future = [c for c in verdict.path[1:] if c.not_before is not None and c.not_before > now]
    if future:
        # The path is accepted only after the last of them has become valid.
        last = max(future, key=lambda c: c.not_before)  # type: ignore[arg-type, return-value]
        assert last.not_before is not None
        yield finding(
            "issuer-not-yet-valid",
            at,
            issuer=last.subject,
            not_before=last.not_before.isoformat(),
            our_clock=now.isoformat(),
        )
