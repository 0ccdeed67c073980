"""Trust anchors, and the paths to them that two verifiers accept.

Pure, except that the files of the trust store are read once.

``cryptography.x509.verification`` has the profile of public CAs (the Web PKI). OpenSSL validates
what browsers accept beyond that profile. Which of them decides is a rule of certmgr/x509/trust.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification

from certmgr.x509.ca_files import read_anchors
from certmgr.x509.equivalent_path import copies, needs_copies
from certmgr.x509.openssl_path import NO_ISSUER, OpensslResult, openssl_path
from certmgr.x509.refusals import purpose_refused
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, parse
from inventory.errors import ConfigError
from inventory.names import as_ip

# Public paths have three or four certificates; the verifiers' own limit is eight.
MAX_PATH = 8
MAX_KEPT = 65_536  # bytes of memory of an issuer that is kept; those of public CAs take 8 KB
# Debian, Fedora, openSUSE, and Alpine with the BSDs.
SYSTEM_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# Error codes of OpenSSL (X509_V_ERR).
_INVALID_PURPOSE = 26
_NO_ISSUER = frozenset({None, 2, 18, 19, 20, 21, 27, 28})


class Anchors:
    """The trust anchors.

    Args:
        public: The anchors of a browser's root programme.
        added: The anchors that the administrator added.

    Attributes:
        by_sha256: All anchors by their fingerprint.
        by_subject: All anchors by their subject.
    """

    def __init__(self, public: Iterable[Certificate], added: Iterable[Certificate] = ()) -> None:
        readable = [c for c in public if c.parsed is not None]
        own = [c for c in added if c.parsed is not None]
        self._public = {c.sha256 for c in readable}
        self._own = [c for c in own if c.sha256 not in self._public]
        self.by_sha256: dict[str, Certificate] = {c.sha256: c for c in (*readable, *own)}
        self.by_subject: dict[bytes, list[Certificate]] = {}
        for anchor in self.by_sha256.values():
            self.by_subject.setdefault(anchor.subject_key, []).append(anchor)
        parsed = [c.parsed for c in self.by_sha256.values() if c.parsed is not None]
        self._store = verification.Store(parsed) if parsed else None
        # Issuers with a verified path. They serve as anchors for further leaves, so that each of
        # those costs one signature check instead of two.
        self._issuers: dict[
            str, tuple[verification.Store, tuple[Certificate, ...], datetime, datetime]
        ] = {}

    @classmethod
    def load(cls, store: str = "mozilla", ca_files: Sequence[str] = ()) -> Anchors:
        """Load the anchors of a trust store.

        Only anchors of Mozilla's programme count as public, even in another store: a company's CA
        in the system store does not.

        Args:
            store: mozilla (certifi's copy), system, or a PEM file instead of both.
            ca_files: PEM files with additional anchors.
        """
        source: str | None = store
        if store == "mozilla":
            source = None
        elif store == "system":
            source = next((p for p in SYSTEM_STORES if Path(p).is_file()), "")
            if not source:
                raise ConfigError(
                    "The system has no certificate store",
                    "none of the common files exists",
                    'Set [trust] store = "mozilla".',
                )
        anchors = _mozilla() if source is None else read_anchors(source)
        # The rules for public CAs must not apply to private anchors of the system or of a file.
        public = {c.sha256 for c in _mozilla()}
        own = [c for c in anchors if c.sha256 not in public] + [
            c for f in ca_files for c in read_anchors(f)
        ]
        return cls([c for c in anchors if c.sha256 in public], own)

    def public_anchors(self) -> list[Certificate]:
        """Return the anchors of the browsers' root programme."""
        return [c for sha256, c in self.by_sha256.items() if sha256 in self._public]

    def is_public(self, certificate: Certificate) -> bool:
        """Return whether a certificate is an anchor of the browsers' root programme."""
        return certificate.sha256 in self._public

    def is_own(self, path: Sequence[Certificate]) -> bool:
        """Return whether a path ends at an anchor that the administrator added."""
        return path[-1].sha256 in self.by_sha256 and not self.is_public(path[-1])

    def named(self, child: Certificate) -> list[Certificate]:
        """Return the anchors with the name of an issuer, which is compared as it is encoded."""
        listed = self.by_subject.get(child.issuer_key, ())
        return [a for a in listed if a.subject_der == child.issuer_der]

    def accepts(self, path: Sequence[Certificate], at: datetime) -> bool:
        """Return whether this path is valid, leaf first and anchor last."""
        if not all(issued_by(child, issuer) for child, issuer in pairwise(path)):
            return False
        own = self.is_own(path)
        result = openssl_path(path[0], path[1:-1], [path[-1]], at, partial=own)
        return result.path is not None

    def conforming_path(
        self, leaf: Certificate, others: Sequence[Certificate], at: datetime
    ) -> tuple[Certificate, ...] | None:
        """Return the path that the profile of public CAs accepts; None if it refuses the chain."""
        path = self._webpki_path(leaf, others, at)
        if path is None:
            return None
        # The verifier of the profile does not check the purpose of an anchor.
        if self.is_own(path) and purpose_refused(path):
            return None
        return path

    def _webpki_path(
        self, leaf: Certificate, others: Sequence[Certificate], at: datetime
    ) -> tuple[Certificate, ...] | None:
        """Return the path that the Web PKI profile accepts; None if it refuses the chain."""
        assert leaf.parsed is not None
        subject = self.subject(leaf)
        if subject is None or self._store is None:
            return None
        builder = verification.PolicyBuilder().time(at).max_chain_depth(MAX_PATH)
        if (
            others
            and (verified := self._issuers.get(others[0].sha256)) is not None
            and verified[2] <= at <= verified[3]
        ):
            try:
                builder.store(verified[0]).build_server_verifier(subject).verify(leaf.parsed, [])
                return (leaf, *verified[1])
            except (verification.VerificationError, *PARSE_ERRORS):
                pass  # the full verification below gives the reason
        try:
            verifier = builder.store(self._store).build_server_verifier(subject)
            verified_path = verifier.verify(
                leaf.parsed, [c.parsed for c in others if c.parsed is not None]
            )
        except (verification.VerificationError, *PARSE_ERRORS):
            return None  # its text is one for programmers; the certificates give the reason
        known = {c.parsed: c for c in (leaf, *others)}
        path = tuple(known.get(p) or parse(p.public_bytes(Encoding.DER)) for p in verified_path)
        self._cache_issuer(path)
        return path

    def equivalent(
        self, path: Sequence[Certificate], at: datetime, result: OpensslResult
    ) -> OpensslResult | None:
        """Return what OpenSSL finds of a path to an own anchor as browsers read it.

        None if browsers read it as OpenSSL does.

        Args:
            path: Leaf first, anchor last.
            at: The time of the validation.
            result: What OpenSSL finds of the original.
        """
        if not self.is_own(path):
            return None
        # OpenSSL takes no issuer with another key identifier or serial number than the certificate
        # names. Browsers use both to choose between several.
        if not (needs_copies(path) or result.code == NO_ISSUER):
            return None
        made = copies(path)
        if made is None:
            return None
        if purpose_refused(path):
            return OpensslResult(None, _INVALID_PURPOSE)
        return openssl_path(made[0], made[1:-1], [made[-1]], at, partial=True)

    def subject(self, leaf: Certificate) -> x509.DNSName | x509.IPAddress | None:
        """Return a name of the leaf that the verifier accepts.

        It requires a name, without underscores.
        """
        if self._store is None:
            return None
        for name in _own_names(leaf):
            try:
                verification.PolicyBuilder().store(self._store).build_server_verifier(name)
            except PARSE_ERRORS:
                continue
            return name
        return None

    def _cache_issuer(self, path: tuple[Certificate, ...]) -> None:
        """Cache the issuer of a verified path as an anchor.

        A path with a name constraint is not cached: the verifier does not check the issuers of an
        anchor, so the constraint would be lost.
        """
        if (
            # Only the common case (leaf, issuer, root) is cached.
            len(path) != 3
            or any(c.constrains_names for c in path[1:])
            or len(self._issuers) >= 4096
            or sum(c.weight for c in path[1:]) > MAX_KEPT
        ):
            return
        issuer, root = path[1:]
        # The next leaf must get the path that it gets without the cache. So no other anchor may
        # compete with this root, or with this issuer.
        if (
            len(self.by_subject.get(issuer.issuer_key, ())) != 1
            or issuer.subject_key in self.by_subject
        ):
            return
        if (
            issuer.parsed is not None
            and issuer.not_before
            and root.not_before
            and issuer.not_after
            and root.not_after
        ):
            window = (
                max(issuer.not_before, root.not_before),
                min(issuer.not_after, root.not_after),
            )
            self._issuers[issuer.sha256] = (
                verification.Store([issuer.parsed]),
                (issuer, root),
                *window,
            )

    def openssl_result(
        self, leaf: Certificate, others: Sequence[Certificate], at: datetime
    ) -> OpensslResult:
        """Return the result of OpenSSL; the anchors of the administrator come first."""
        own = OpensslResult(None)
        if self._own:
            # The administrator may pin an intermediate or a leaf, so a path may end there.
            own = openssl_path(leaf, others, self._own, at, partial=True)
            if own.path is not None and purpose_refused(own.path):
                own = OpensslResult(None, _INVALID_PURPOSE)
        if own.path is not None or not self._public:
            return own
        public = openssl_path(
            leaf, others, [a for k, a in self.by_sha256.items() if k in self._public], at
        )
        if public.path is None and own.code not in _NO_ISSUER:
            return own
        return public


def _own_names(leaf: Certificate) -> Iterator[x509.DNSName | x509.IPAddress]:
    """Yield names that the leaf covers, for a verifier that requires one."""
    # Twenty names are enough to find one that the verifier accepts.
    for name in leaf.dns_names[:20]:
        try:
            # A wildcard is not a host name, so an example that it covers stands for it.
            yield x509.DNSName("a" + name[1:] if name.startswith("*.") else name)
        except PARSE_ERRORS:
            continue
    for address in leaf.ip_names[:20]:
        if (parsed := as_ip(address)) is not None:
            yield x509.IPAddress(parsed)


@cache
def _mozilla() -> Sequence[Certificate]:
    """Return the anchors of certifi.

    They are read once per process: each scan needs them, and they do not change.
    """

    return tuple(read_anchors(certifi.where()))
