"""Does a path lead from a leaf to a trust anchor at a given time, and if not, why.

Pure but for reading the store's files once.

Two verifiers: ``cryptography.x509.verification`` (the Web PKI profile) decides; OpenSSL's
X509StoreContext gives codes and the second opinion where the first refuses. A refusal of either is
only a string or a number, so the reason is derived from the certificates: a path is walked by
names, signatures and dates. The host name is no part of it.
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
MAX_SERVED = 32  # how many of a served chain a path is looked for in
SYSTEM_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


# Verdicts that further issuers do not change.
SETTLED = frozenset({"ok", "incomplete", "self-signed", "unreadable"})


@dataclass(frozen=True, slots=True)
class PathVerdict:
    """A verdict on a chain.

    ``reason``: ok, incomplete (an issuer was not sent but is held), missing (nor held),
    self-signed, untrusted-root, intermediate-expired, refused (a constraint), disputed, unreadable.

    ``trusted``: a path verifies at this time; None: not determined. ``path``: leaf first, the
    anchor last, as far as known. ``window``: in which times the same verdict holds. ``unsent``:
    issuers that complete it. ``codes``: OpenSSL's (code, depth).
    """

    reason: str
    trusted: bool | None
    path: tuple[Certificate, ...] = ()
    window: tuple[datetime, datetime] | None = None
    unsent: tuple[Certificate, ...] = ()
    missing_issuer: str = ""
    public: bool = False
    codes: tuple[tuple[int, int], ...] = ()
    words: str = ""


@dataclass(slots=True)
class Issuers:
    """Intermediates known to the inventory or seen in the run, by their subject.

    Grows during a run; bounded.
    """

    limit: int = 20_000
    by_subject: dict[bytes, list[Certificate]] = field(default_factory=dict)
    hashes: set[str] = field(default_factory=set)

    def add(self, certificate: Certificate) -> bool:
        """True when it was new and can be an issuer."""
        if (
            not certificate.is_ca
            or certificate.sha256 in self.hashes
            or len(self.hashes) >= self.limit
        ):
            return False
        self.hashes.add(certificate.sha256)
        self.by_subject.setdefault(certificate.subject_der, []).append(certificate)
        return True

    def closure(self, start: Sequence[Certificate], limit: int = 24) -> list[Certificate]:
        """Issuers of ``start``, their issuers, and so on."""
        found: dict[str, Certificate] = {}
        waiting = [c.issuer_der for c in start]
        while waiting and len(found) < limit:
            for issuer in self.by_subject.get(waiting.pop(), ())[:8]:
                if issuer.sha256 not in found:
                    found[issuer.sha256] = issuer
                    waiting.append(issuer.issuer_der)
        return list(found.values())


class TrustStore:
    """Anchors.

    ``public``: the ones that stand for a browser's root programme; ``added``: the user's own.
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
        # Issuers that a whole path was verified for, as anchors of their own: each further leaf
        # costs one signature, not two.
        self._issuers: dict[
            str, tuple[verification.Store, tuple[Certificate, ...], datetime, datetime]
        ] = {}
        self._cache: dict[tuple[str, ...], tuple[int, PathVerdict]] | None = {} if cache else None

    @classmethod
    def load(
        cls, store: str = "mozilla", ca_files: Sequence[str] = (), *, cache: bool = True
    ) -> TrustStore:
        """``store``: mozilla (certifi's copy), system, or a PEM file that takes the place of both.

        Public is what stands in Mozilla's programme, whatever store it came from: a company's CA in
        the system's store is not.
        """
        source: str | None = store
        if store == "mozilla":
            source = None
        elif store == "system":
            source = next((p for p in SYSTEM_STORES if Path(p).is_file()), "")
            if not source:
                raise ConfigError(
                    "The system has no certificate store",
                    "none of the usual files exists",
                    'Set [trust] store = "mozilla".',
                )
        anchors = _mozilla() if source is None else read_anchors(source)
        public = {c.sha256 for c in _mozilla()}
        own = [c for c in anchors if c.sha256 not in public] + [
            c for f in ca_files for c in read_anchors(f)
        ]
        return cls([c for c in anchors if c.sha256 in public], own, cache=cache)

    # -- the verifiers

    def _webpki(
        self, leaf: Certificate, others: Sequence[Certificate], at: datetime
    ) -> tuple[Certificate, ...] | str:
        """The path that the Web PKI profile accepts, or its words of refusal."""
        assert leaf.parsed is not None
        subject = self._subject(leaf)
        if subject is None or self._store is None:
            return "no name to verify for" if subject is None else "no trust anchor is configured"
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
                pass  # the whole way says why
        try:
            verifier = builder.store(self._store).build_server_verifier(subject)
            found = verifier.verify(leaf.parsed, [c.parsed for c in others if c.parsed is not None])
        except (verification.VerificationError, *PARSE_ERRORS) as error:
            return str(error)[:300]
        known = {c.parsed: c for c in (leaf, *others)}
        path = tuple(known.get(p) or parse(p.public_bytes(Encoding.DER)) for p in found)
        self._remember(path)
        return path

    def _subject(self, leaf: Certificate) -> x509.DNSName | x509.IPAddress | None:
        """A name of the leaf that the verifier accepts (it requires one, without underscores)."""
        if self._store is None:
            return None
        for name in _own_names(leaf):
            try:
                verification.PolicyBuilder().store(self._store).build_server_verifier(name)
            except PARSE_ERRORS:
                continue
            return name
        return None

    def _remember(self, path: tuple[Certificate, ...]) -> None:
        """Not where a name constraint stands above the leaf: an anchor's own issuers are not looked
        at.
        """
        if (
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

    def _second(
        self, leaf: Certificate, others: Sequence[Certificate], at: datetime
    ) -> tuple[bool, tuple[int, int] | None]:
        """OpenSSL's opinion: (accepts, (code, depth) of its refusal)."""
        from OpenSSL import crypto

        if self._openssl is None:
            self._openssl = crypto.X509Store()
            for anchor in self.anchors.values():
                if anchor.parsed is not None:
                    self._openssl.add_cert(crypto.X509.from_cryptography(anchor.parsed))
        assert leaf.parsed is not None
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
        """``chain``: as served, leaf first.

        Remembered by chain; only the dates are judged again.
        """
        key = tuple(c.sha256 for c in chain)
        if self._cache is not None and (known := self._cache.get(key)) is not None:
            size, verdict = known
            fresh = verdict.reason in SETTLED or size == len(issuers.hashes)
            if (
                fresh
                and verdict.window is not None
                and verdict.window[0] <= now <= verdict.window[1]
            ):
                return verdict
        verdict = self._assess(chain, issuers, now)
        if self._cache is not None:
            if len(self._cache) >= 8192:
                self._cache.clear()
            self._cache[key] = (len(issuers.hashes), verdict)
        return verdict

    def _assess(self, chain: Sequence[Certificate], issuers: Issuers, now: datetime) -> PathVerdict:
        leaf = chain[0]
        if leaf.parsed is None or leaf.not_before is None or leaf.not_after is None:
            return PathVerdict("unreadable", None)
        # An expired leaf is judged in its own time, so that its date is the only thing said about
        # its date.
        in_time = leaf.not_before <= now <= leaf.not_after
        at = now if in_time else min(max(now, leaf.not_before), leaf.not_after)
        served = [c for c in chain[1 : MAX_SERVED + 1] if c.parsed is not None]
        accepted = self._webpki(leaf, served, at)
        if not isinstance(accepted, str):
            return self._accepted("ok", accepted, in_time, now)
        agrees, code = self._second(leaf, served, at)
        if agrees:
            path, end = self._walk(leaf, served, [], at)
            if end == "anchor" and self._subject(leaf) is None:
                # The first verifier could not be asked, since it takes no name of this leaf:
                # OpenSSL and the walk decide.
                return self._accepted("ok", path, in_time, now)
            return self._finish(PathVerdict("disputed", None, path, words=accepted), now)
        held = [c for c in issuers.closure([leaf, *served]) if c not in served]
        if held:
            completed = self._webpki(leaf, [*served, *held], at)
            if isinstance(completed, str) and self._second(leaf, [*served, *held], at)[0]:
                completed = self._walk(leaf, served, held, at)[0]
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
        window = (max(starts), min(ends)) if in_time else (now, now)
        return PathVerdict(
            reason, in_time, path, window, tuple(unsent), public=path[-1].sha256 in self._public
        )

    def _finish(self, verdict: PathVerdict, now: datetime) -> PathVerdict:
        """A refusal holds until the next date at which a certificate of the path begins or ends; an
        hour is enough for a run.
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
            words=verdict.words,
        )

    def _explain(
        self,
        leaf: Certificate,
        served: list[Certificate],
        held: list[Certificate],
        at: datetime,
        code: tuple[int, int] | None,
        words: str,
    ) -> PathVerdict:
        path, end = self._walk(leaf, served, held, at)
        codes = (code,) if code else ()
        if end == "missing":
            return PathVerdict(
                "missing", None, path, missing_issuer=path[-1].issuer, codes=codes, words=words
            )
        if end == "self-signed":
            return PathVerdict(
                "self-signed" if len(path) == 1 else "untrusted-root",
                False,
                path,
                codes=codes,
                words=words,
            )
        if end == "anchor":
            expired = [c for c in path[1:-1] if c.not_after is not None and c.not_after < at]
            if expired:
                return PathVerdict("intermediate-expired", False, path, codes=codes, words=words)
        return PathVerdict("refused", False, path, codes=codes, words=words)

    def _walk(
        self, leaf: Certificate, served: list[Certificate], held: list[Certificate], at: datetime
    ) -> tuple[tuple[Certificate, ...], str]:
        """Up from the leaf by name and signature: (path, how it ends: anchor, self-signed, missing,
        long).
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
            # One that is in its time first: an expired cross-sign is no fault where another path
            # exists.
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
    """Names that the leaf covers, for a verifier that insists on one."""
    for name in leaf.dns_names[:20]:
        try:
            yield x509.DNSName("a" + name[1:] if name.startswith("*.") else name)
        except PARSE_ERRORS:
            continue
    for address in leaf.ip_names[:20]:
        if (parsed := as_ip(address)) is not None:
            yield x509.IPAddress(parsed)


@cache
def _mozilla() -> Sequence[Certificate]:
    """Return the anchors of certifi, read once per process: each scan needs them, and they do not
    change.
    """

    return tuple(read_anchors(certifi.where()))


def read_anchors(path: str) -> list[Certificate]:
    """The certificates of a PEM file, or of one DER file. Raises :class:`UsageError`."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"The CA file {path} cannot be read",
            error.strerror or str(error),
            "Name a readable PEM file.",
        ) from None
    try:
        found = from_pem(data) if b"-----BEGIN" in data else [parse(data)]
    except ValueError as error:
        raise UsageError(
            f"The CA file {path} cannot be used", str(error), "Name a file with PEM certificates."
        ) from None
    if not any(c.parsed is not None for c in found):
        raise UsageError(
            f"The CA file {path} cannot be used",
            "it holds no certificate that can be read",
            "Name a PEM file.",
        )
    return found
