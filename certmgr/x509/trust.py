"""Decide whether a path leads from a leaf to a trust anchor at a given time, and if not, why.

Pure, except that the files of the trust store are read once.

There are two verifiers. ``cryptography.x509.verification`` (the Web PKI profile) decides. If it
refuses, OpenSSL's X509StoreContext gives error codes and a second opinion. A refusal of either is
only a string or a number, so the reason is derived from the certificates: a path is built by names,
signatures and dates. The host name is not part of the verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification

from inventory.certificates import (
    PARSE_ERRORS,
    Certificate,
    from_pem,
    issued_by,
    parse,
    self_signed,
)
from inventory.errors import ConfigError, UsageError
from inventory.names import as_ip

MAX_PATH = 8
MAX_SERVED = 32  # certificates of a served chain that are used to build a path
SYSTEM_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


# Verdicts that additional issuers do not change.
SETTLED = frozenset({"ok", "incomplete", "self-signed", "unreadable"})


@dataclass(frozen=True, slots=True)
class PathVerdict:
    """The verdict on a chain.

    Attributes:
        reason: ok, incomplete (an issuer was not sent, but is known), missing (not sent and not
            known), self-signed, untrusted-root, intermediate-expired, refused (a constraint),
            disputed, unreadable.
        trusted: Whether a path verifies at this time; None: undetermined.
        path: The leaf first, the anchor last, as far as known.
        window: The first and last time with the same verdict.
        unsent: The issuers that complete the path.
        public: Whether the path ends at an anchor of Mozilla's root programme.
        codes: (code, depth) of OpenSSL.
        message: The text of the verifier's refusal.
    """

    reason: str
    trusted: bool | None
    path: tuple[Certificate, ...] = ()
    window: tuple[datetime, datetime] | None = None
    unsent: tuple[Certificate, ...] = ()
    missing_issuer: str = ""
    public: bool = False
    codes: tuple[tuple[int, int], ...] = ()
    message: str = ""


@dataclass(slots=True)
class Issuers:
    """The intermediates in the inventory and those seen in the run, by their subject.

    It grows during a run, up to ``limit``.
    """

    limit: int = 20_000
    by_subject: dict[bytes, list[Certificate]] = field(default_factory=dict)
    hashes: set[str] = field(default_factory=set)

    def add(self, certificate: Certificate) -> bool:
        """Add a certificate. Returns whether it is new and can be an issuer."""
        if (
            not certificate.is_ca
            or certificate.sha256 in self.hashes
            # Hostile servers can send any number of intermediates.
            or len(self.hashes) >= self.limit
        ):
            return False
        self.hashes.add(certificate.sha256)
        self.by_subject.setdefault(certificate.subject_der, []).append(certificate)
        return True

    def closure(self, start: Sequence[Certificate], limit: int = 24) -> list[Certificate]:
        """Return the issuers of ``start``, their issuers, and so on."""
        issuers: dict[str, Certificate] = {}
        waiting = [c.issuer_der for c in start]
        while waiting and len(issuers) < limit:
            # Many certificates with one subject would multiply the paths, so the number is bounded.
            for issuer in self.by_subject.get(waiting.pop(), ())[:8]:
                if issuer.sha256 not in issuers:
                    issuers[issuer.sha256] = issuer
                    waiting.append(issuer.issuer_der)
        return list(issuers.values())


class TrustStore:
    """Trust anchors.

    Args:
        public: The anchors of a browser's root programme.
        added: The anchors that the administrator added.
        cache: Cache verdicts by chain.
    """

    def __init__(
        self,
        public: Iterable[Certificate],
        added: Iterable[Certificate] = (),
        *,
        cache: bool = True,
    ) -> None:
        readable = [c for c in public if c.parsed is not None]
        own = [c for c in added if c.parsed is not None]
        self._public = {c.sha256 for c in readable}
        self.anchors: dict[str, Certificate] = {c.sha256: c for c in (*readable, *own)}
        self._by_subject: dict[bytes, list[Certificate]] = {}
        for anchor in self.anchors.values():
            self._by_subject.setdefault(anchor.subject_der, []).append(anchor)
        parsed = [c.parsed for c in self.anchors.values() if c.parsed is not None]
        self._store = verification.Store(parsed) if parsed else None
        self._openssl: Any = None
        # Issuers with a verified path. They serve as anchors for further leaves, so that each of
        # those costs one signature check instead of two.
        self._issuers: dict[
            str, tuple[verification.Store, tuple[Certificate, ...], datetime, datetime]
        ] = {}
        self._cache: dict[tuple[str, ...], tuple[int, PathVerdict]] | None = {} if cache else None

    @classmethod
    def load(
        cls, store: str = "mozilla", ca_files: Sequence[str] = (), *, cache: bool = True
    ) -> TrustStore:
        """Load a trust store.

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
        return cls([c for c in anchors if c.sha256 in public], own, cache=cache)

    # -- the verifiers

    def _webpki_path(
        self, leaf: Certificate, others: Sequence[Certificate], at: datetime
    ) -> tuple[Certificate, ...] | str:
        """Return the path that the Web PKI profile accepts, or the text of its refusal."""
        assert leaf.parsed is not None
        subject = self._subject(leaf)
        if subject is None or self._store is None:
            return (
                "the certificate has no name to verify"
                if subject is None
                else "no trust anchor is configured"
            )
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
        except (verification.VerificationError, *PARSE_ERRORS) as error:
            return str(error)[:300]
        known = {c.parsed: c for c in (leaf, *others)}
        path = tuple(known.get(p) or parse(p.public_bytes(Encoding.DER)) for p in verified_path)
        self._cache_issuer(path)
        return path

    def _subject(self, leaf: Certificate) -> x509.DNSName | x509.IPAddress | None:
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
        ):
            return
        issuer, root = path[1:]
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

    def _openssl_verdict(
        self, leaf: Certificate, others: Sequence[Certificate], at: datetime
    ) -> tuple[bool, tuple[int, int] | None]:
        """Return whether OpenSSL accepts the chain, and (code, depth) of its refusal."""
        from OpenSSL import crypto

        if self._openssl is None:
            self._openssl = crypto.X509Store()
            for anchor in self.anchors.values():
                if anchor.parsed is not None:
                    self._openssl.add_cert(crypto.X509.from_cryptography(anchor.parsed))
        assert leaf.parsed is not None
        # The X509Store is built once per trust store; only its time changes.
        self._openssl.set_time(at)
        try:
            chain = [
                crypto.X509.from_cryptography(c.parsed) for c in others if c.parsed is not None
            ]
            crypto.X509StoreContext(
                self._openssl, crypto.X509.from_cryptography(leaf.parsed), chain
            ).verify_certificate()
        except crypto.X509StoreContextError as error:
            return False, (int(error.errors[0]), int(error.errors[1]))
        except (crypto.Error, *PARSE_ERRORS):
            return False, None
        return True, None

    # -- the verdict

    def assess(self, chain: Sequence[Certificate], issuers: Issuers, now: datetime) -> PathVerdict:
        """Return the verdict on a chain.

        Verdicts are cached by chain; only the dates are checked again.

        Args:
            chain: The certificates as served, leaf first.
        """
        key = tuple(c.sha256 for c in chain)
        if self._cache is not None and (known := self._cache.get(key)) is not None:
            size, verdict = known
            # Another verdict may change if issuers were added since.
            current = verdict.reason in SETTLED or size == len(issuers.hashes)
            if (
                current
                and verdict.window is not None
                and verdict.window[0] <= now <= verdict.window[1]
            ):
                return verdict
        verdict = self._assess(chain, issuers, now)
        if self._cache is not None:
            # Bounded memory. Clearing everything is cheap compared with an eviction order.
            if len(self._cache) >= 8192:
                self._cache.clear()
            self._cache[key] = (len(issuers.hashes), verdict)
        return verdict

    def _assess(self, chain: Sequence[Certificate], issuers: Issuers, now: datetime) -> PathVerdict:
        leaf = chain[0]
        if leaf.parsed is None or leaf.not_before is None or leaf.not_after is None:
            return PathVerdict("unreadable", None)
        # An expired leaf is verified at its end, so that only the finding about its date reports
        # the date.
        in_time = leaf.not_before <= now <= leaf.not_after
        at = now if in_time else min(max(now, leaf.not_before), leaf.not_after)
        # An unparseable certificate cannot be part of a path, but the others can.
        served = [c for c in chain[1 : MAX_SERVED + 1] if c.parsed is not None]
        accepted = self._webpki_path(leaf, served, at)
        if not isinstance(accepted, str):
            return self._accepted("ok", accepted, in_time, now)
        agrees, code = self._openssl_verdict(leaf, served, at)
        if agrees:
            path, end = self._build_path(leaf, served, [], at)
            if end == "anchor" and self._subject(leaf) is None:
                # The first verifier cannot verify a leaf without a name that it accepts, so
                # OpenSSL and the path decide.
                return self._accepted("ok", path, in_time, now)
            return self._finish(PathVerdict("disputed", None, path, message=accepted), now)
        # Browsers also complete chains with intermediates that they know or download.
        held = [c for c in issuers.closure([leaf, *served]) if c not in served]
        if held:
            completed = self._webpki_path(leaf, [*served, *held], at)
            if isinstance(completed, str) and self._openssl_verdict(leaf, [*served, *held], at)[0]:
                # OpenSSL accepts the completed chain, so its path counts.
                completed = self._build_path(leaf, served, held, at)[0]
            if not isinstance(completed, str):
                return self._accepted(
                    "incomplete",
                    completed,
                    in_time,
                    now,
                    unsent=[c for c in completed if c in held],
                )
        return self._finish(self._explain(leaf, served, held, at, code, accepted), now)

    def _accepted(
        self,
        reason: str,
        path: tuple[Certificate, ...],
        in_time: bool,
        now: datetime,
        unsent: Sequence[Certificate] = (),
    ) -> PathVerdict:
        starts = [c.not_before for c in path if c.not_before]
        ends = [c.not_after for c in path if c.not_after]
        # Within these dates the same path verifies. An expired leaf is assessed again each time.
        window = (max(starts), min(ends)) if in_time else (now, now)
        return PathVerdict(
            reason, in_time, path, window, tuple(unsent), public=path[-1].sha256 in self._public
        )

    def _finish(self, verdict: PathVerdict, now: datetime) -> PathVerdict:
        """Return a refusal with its window and whether its anchor is public.

        A refusal may change with the next date of a certificate in the path. One hour is enough for
        a run.
        """
        public = bool(verdict.path) and verdict.path[-1].sha256 in self._public
        return PathVerdict(
            reason=verdict.reason,
            trusted=verdict.trusted,
            path=verdict.path,
            window=(now - timedelta(minutes=1), now + timedelta(hours=1)),
            unsent=verdict.unsent,
            missing_issuer=verdict.missing_issuer,
            public=public,
            codes=verdict.codes,
            message=verdict.message,
        )

    def _explain(
        self,
        leaf: Certificate,
        served: list[Certificate],
        held: list[Certificate],
        at: datetime,
        code: tuple[int, int] | None,
        message: str,
    ) -> PathVerdict:
        path, end = self._build_path(leaf, served, held, at)
        codes = (code,) if code else ()
        if end == "missing":
            return PathVerdict(
                "missing", None, path, missing_issuer=path[-1].issuer, codes=codes, message=message
            )
        if end == "self-signed":
            return PathVerdict(
                "self-signed" if len(path) == 1 else "untrusted-root",
                False,
                path,
                codes=codes,
                message=message,
            )
        if end == "anchor":
            # Only intermediates: the leaf has separate findings about its dates.
            expired = [c for c in path[1:-1] if c.not_after is not None and c.not_after < at]
            if expired:
                return PathVerdict(
                    "intermediate-expired", False, path, codes=codes, message=message
                )
        return PathVerdict("refused", False, path, codes=codes, message=message)

    def _build_path(
        self, leaf: Certificate, served: list[Certificate], held: list[Certificate], at: datetime
    ) -> tuple[tuple[Certificate, ...], str]:
        """Build a path upwards from the leaf by name and signature.

        Returns:
            The path and its end: anchor, self-signed, missing or long.
        """
        path = [leaf]
        while len(path) <= MAX_PATH + 1:
            current = path[-1]
            if current.sha256 in self.anchors:
                return tuple(path), "anchor"
            anchor = next(
                (a for a in self._by_subject.get(current.issuer_der, ()) if issued_by(current, a)),
                None,
            )
            if anchor is not None:
                return (*path, anchor), "anchor"
            if current.self_issued and self_signed(current):
                return tuple(path), "self-signed"
            candidates = [
                c for c in (*served, *held) if c.subject_der == current.issuer_der and c not in path
            ]
            # Currently valid candidates first: an expired cross-certificate is not a fault if
            # another path exists.
            candidates.sort(
                key=lambda c: (
                    not (c.not_before and c.not_after and c.not_before <= at <= c.not_after)
                )
            )
            issuer = next((c for c in candidates[:8] if issued_by(current, c)), None)
            if issuer is None:
                return tuple(path), "missing"
            path.append(issuer)
        return tuple(path), "long"


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


def read_anchors(path: str) -> list[Certificate]:
    """Read the certificates of a PEM file, or of a DER file with one certificate.

    Raises:
        UsageError: The file cannot be read, or has no certificate.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"The CA file {path} cannot be read",
            error.strerror or str(error),
            "Use the path of a readable PEM file.",
        ) from None
    try:
        anchors = from_pem(data) if b"-----BEGIN" in data else [parse(data)]
    except ValueError as error:
        raise UsageError(
            f"The CA file {path} cannot be used", str(error), "Use a file with PEM certificates."
        ) from None
    if not any(c.parsed is not None for c in anchors):
        raise UsageError(
            f"The CA file {path} cannot be used",
            "it has no certificate that can be read",
            "Use a PEM file.",
        )
    return anchors
