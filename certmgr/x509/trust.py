"""Decide whether a path leads from a leaf to a trust anchor at a given time, and if not, why.

Pure. There are two verifiers (certmgr/x509/anchors.py). What the profile of public CAs (Web PKI)
accepts is accepted. If it refuses, OpenSSL decides under an anchor that is the administrator's own,
since browsers do not hold private CAs to that profile; what the profile objects to is a remark.
Under a public anchor, a chain that only OpenSSL accepts is disputed.

A refusal of either is only a string or a number, so the reason is derived from the certificates: a
path is built by names, signatures and dates. The host name is not part of the verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from certmgr.x509.anchors import Anchors
from certmgr.x509.name_constraints import permitted as names_permitted
from certmgr.x509.named_path import build_path, valid_at
from certmgr.x509.openssl_path import OpensslResult
from certmgr.x509.path_search import Path, ambiguous, found_in_time
from certmgr.x509.policies import NO_POLICY, policies_valid
from certmgr.x509.refusals import NAME_CONSTRAINED, OUTSIDE_PROFILE, objections, refusal
from inventory.certificate_signatures import issued_by, self_signed
from inventory.certificates import Certificate

MAX_SERVED = 32  # certificates of a served chain that are used to build a path


# Verdicts that additional issuers do not change. Of a chain that is completed, they may change the
# path.
SETTLED = frozenset({"ok", "disputed", "self-signed", "unreadable"})
_FIRST, _LAST = (d.replace(tzinfo=UTC) for d in (datetime.min, datetime.max))


@dataclass(frozen=True, slots=True)
class PathVerdict:
    """The verdict on a chain.

    Attributes:
        reason: ok, incomplete (an issuer was not sent, but is known), missing (not sent and not
            known), self-signed, untrusted-root, intermediate-expired, root-expired (a private
            root), ambiguous (Chrome gives up before it finds the path), refused (a constraint),
            disputed (public roots only), unreadable.
        trusted: Whether a path verifies at this time; None: undetermined.
        path: The leaf first, the anchor last, as far as known.
        window: The first and last time with the same verdict.
        unsent: The issuers that complete the path.
        public: Whether the path ends at an anchor of Mozilla's root programme.
        codes: (code, depth) of OpenSSL.
        problem: Why a path was refused; a fixed phrase.
        remarks: What the profile of public CAs objects to, in fixed phrases: the dispute, or a
            remark about an accepted private path.
    """

    reason: str
    trusted: bool | None
    path: tuple[Certificate, ...] = ()
    window: tuple[datetime, datetime] | None = None
    unsent: tuple[Certificate, ...] = ()
    missing_issuer: str = ""
    public: bool = False
    codes: tuple[tuple[int, int], ...] = ()
    problem: str = ""
    remarks: tuple[str, ...] = ()


# The intermediates of the public CAs have at most 4 KB.
MAX_ISSUER = 65_536
MAX_ISSUER_BYTES = 33_554_432
MAX_VERDICT_BYTES = 16_777_216
MAX_SAME_NAME = 64  # certificates with one subject whose signatures are tried


@dataclass(slots=True)
class Issuers:
    """The intermediates in the inventory and those seen in the run, by their subject.

    It grows during a run, up to ``limit`` certificates and ``max_bytes`` of memory.
    """

    limit: int = 20_000
    max_bytes: int = MAX_ISSUER_BYTES
    kept_bytes: int = 0
    by_subject: dict[bytes, list[Certificate]] = field(default_factory=dict)
    trusted: dict[bytes, set[Certificate]] = field(default_factory=dict)
    hashes: set[str] = field(default_factory=set)
    added: list[Certificate] = field(default_factory=list)

    def add(self, certificate: Certificate) -> bool:
        """Add a certificate. Returns whether it is new and can be an issuer."""
        if (
            not certificate.is_ca
            or certificate.sha256 in self.hashes
            # Hostile servers can send any number of intermediates, of any size.
            or len(self.hashes) >= self.limit
            or certificate.weight > MAX_ISSUER
            or self.kept_bytes + certificate.weight > self.max_bytes
        ):
            return False
        self.kept_bytes += certificate.weight
        self.hashes.add(certificate.sha256)
        self.added.append(certificate)
        self.by_subject.setdefault(certificate.subject_key, []).append(certificate)
        return True

    def trust(self, path: Sequence[Certificate]) -> None:
        """Record the issuers of a path to an anchor; see :meth:`_of`."""
        for certificate in path[1:]:
            if certificate.sha256 in self.hashes:
                self.trusted.setdefault(certificate.subject_key, set()).add(certificate)

    def closure(self, start: Sequence[Certificate], limit: int = 24) -> list[Certificate]:
        """Return the issuers of ``start``, their issuers, and so on."""
        issuers: dict[str, Certificate] = {}
        waiting = list(start)
        while waiting and len(issuers) < limit:
            for issuer in self._of(waiting.pop()):
                if issuer.sha256 not in issuers:
                    issuers[issuer.sha256] = issuer
                    waiting.append(issuer)
        return list(issuers.values())

    def _of(self, child: Certificate, limit: int = 8) -> list[Certificate]:
        """Return the issuers of one certificate, independent of the order in which they came."""
        found = self.by_subject.get(child.issuer_key, [])
        # Many certificates with one subject would multiply the paths, so the number is bounded.
        # A flood of them must not displace the one that issued the child.
        if len(found) > limit:
            # Each of them costs a verification, for each child of the real one. So what a stranger
            # sends under the name of a public CA is not tried if that CA has issued the child.
            trusted = self.trusted.get(child.issuer_key, ())
            signers = [c for c in trusted if issued_by(child, c)]
            first = sorted(found, key=lambda c: c.sha256)[:MAX_SAME_NAME] if not signers else ()
            found = signers or [c for c in first if issued_by(child, c)]
        found = sorted(found, key=lambda c: c.sha256)
        return found[:limit]


class TrustStore:
    """Trust anchors, and verdicts on chains.

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
        self._anchors = Anchors(public, added)
        self._cache: dict[tuple[str, ...], tuple[int, PathVerdict]] | None = {} if cache else None
        self._cache_bytes = 0

    @classmethod
    def load(
        cls, store: str = "mozilla", ca_files: Sequence[str] = (), *, cache: bool = True
    ) -> TrustStore:
        """Load a trust store; see :meth:`certmgr.x509.anchors.Anchors.load`."""
        made = cls((), cache=cache)
        made._anchors = Anchors.load(store, ca_files)
        return made

    @property
    def anchors(self) -> Mapping[str, Certificate]:
        """The anchors by their fingerprint."""
        return self._anchors.by_sha256

    def public_anchors(self) -> list[Certificate]:
        """Return the anchors of the browsers' root programme."""
        return self._anchors.public_anchors()

    def assess(self, chain: Sequence[Certificate], issuers: Issuers, now: datetime) -> PathVerdict:
        """Return the verdict on a chain.

        Verdicts are cached by chain; only the dates are checked again.

        Args:
            chain: The certificates as served, leaf first.
        """
        # A certificate is valid through the whole second of its notAfter (RFC 5280 4.1.2.5).
        now = now.replace(microsecond=0)
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
        verdict = self._searched(self._assess(chain, issuers, now), chain, now)
        if verdict.trusted:
            issuers.trust(verdict.path)
        verdict = self._dated(verdict, chain, issuers, now)
        # A verdict holds the certificates of its path. A huge one occurs once.
        weight = sum(c.weight for c in verdict.path)
        if self._cache is not None and weight <= MAX_VERDICT_BYTES // 64:
            # Bounded memory. Clearing everything is cheap compared with an eviction order.
            if len(self._cache) >= 8192 or self._cache_bytes + weight > MAX_VERDICT_BYTES:
                self._cache.clear()
                self._cache_bytes = 0
            self._cache[key] = (len(issuers.hashes), verdict)
            self._cache_bytes += weight
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
        accepted = self._anchors.conforming_path(leaf, served, at)
        if accepted is not None:
            return self._accepted("ok", accepted, in_time, now, conforms=True)
        result = self._anchors.openssl_result(leaf, served, at)
        if (path := result.path) is not None:
            # The first verifier cannot verify a leaf without a name that it accepts.
            if self._anchors.is_own(path) or self._anchors.subject(leaf) is None:
                return self._accepted("ok", path, in_time, now)
            remarks = objections(path) or (OUTSIDE_PROFILE,)
            return PathVerdict("disputed", None, path, public=True, remarks=remarks)
        # Browsers also complete chains with intermediates that they know or download. Nothing
        # stands above a self-signed certificate.
        held = (
            []
            if leaf.self_issued and self_signed(leaf)
            else [c for c in issuers.closure([leaf, *served]) if c not in served]
        )
        if held:
            completed = self._anchors.conforming_path(leaf, [*served, *held], at)
            conforms = completed is not None
            if completed is None:
                # If OpenSSL accepts the completed chain, its path counts.
                completed = self._anchors.openssl_result(leaf, [*served, *held], at).path
            if completed is not None:
                unsent = [c for c in completed if c in held]
                return self._accepted(
                    "incomplete", completed, in_time, now, unsent, conforms=conforms
                )
        return self._explain(leaf, served, held, at, now, result)

    def _accepted(
        self,
        reason: str,
        path: tuple[Certificate, ...],
        in_time: bool,
        now: datetime,
        unsent: Sequence[Certificate] = (),
        *,
        conforms: bool = False,
    ) -> PathVerdict:
        """Return the verdict on an accepted path.

        Args:
            conforms: Whether the profile of public CAs accepts the path too.
        """
        anchor = path[-1]
        if not policies_valid(path, own=self._anchors.is_own(path)):
            public = self._anchors.is_public(anchor)
            return PathVerdict("refused", False, path, public=public, problem=NO_POLICY)
        if not names_permitted(path):
            public = self._anchors.is_public(anchor)
            return PathVerdict("refused", False, path, public=public, problem=NAME_CONSTRAINED)
        remarks: tuple[str, ...] = ()
        if self._anchors.is_own(path):
            # An expired leaf is verified at its end. A private root that has expired since then has
            # to be renewed too.
            if len(path) > 1 and anchor.not_after is not None and anchor.not_after < now:
                return PathVerdict("root-expired", False, path)
            if not conforms:
                remarks = objections(path)
                # Without a name, the verifier of the profile did not judge the path.
                if not remarks and self._anchors.subject(path[0]) is not None:
                    remarks = (OUTSIDE_PROFILE,)
        return PathVerdict(
            reason,
            in_time,
            path,
            unsent=tuple(unsent),
            public=self._anchors.is_public(anchor),
            remarks=remarks,
        )

    def _searched(
        self, verdict: PathVerdict, chain: Sequence[Certificate], now: datetime
    ) -> PathVerdict:
        """Return a verdict, unless Chrome gives up before it finds the accepted path."""
        sent = [c for c in chain[1:] if c.parsed is not None]
        found = verdict.reason == "ok" and verdict.trusted and len(verdict.path) > 1
        if not found or not ambiguous(sent):
            return verdict

        refused: list[Path] = []

        def accepted(path: Path) -> bool:
            if path == verdict.path or self._anchors.accepts(path, now):
                return True
            refused.append(path)
            return False

        if found_in_time(chain[0], sent, self._anchors.named, accepted):
            return verdict
        verdict = replace(verdict, reason="ambiguous", trusted=False, remarks=())
        # Chrome reports the fault of the first path that it met.
        if refused and _expired(refused[0], now):
            return replace(verdict, reason="intermediate-expired", path=refused[0])
        return verdict

    def _dated(
        self, verdict: PathVerdict, chain: Sequence[Certificate], issuers: Issuers, now: datetime
    ) -> PathVerdict:
        """Return a verdict with its window, which ends at the next date that may change it."""
        involved = [*chain[: MAX_SERVED + 1], *verdict.path]
        involved += issuers.closure(involved)
        involved += [a for c in involved for a in self._anchors.by_subject.get(c.issuer_key, ())]
        first, last = _FIRST, _LAST
        for certificate in involved:
            for date, moment in (
                (certificate.not_before, timedelta(0)),
                # A certificate is still valid at its notAfter, and not after it.
                (certificate.not_after, timedelta(seconds=1)),
            ):
                if date is None:
                    continue
                if date <= now - moment:
                    first = max(first, date + moment)
                else:
                    last = min(last, date if moment else date - timedelta(seconds=1))
        return replace(verdict, window=(first, last))

    def _explain(
        self,
        leaf: Certificate,
        served: list[Certificate],
        held: list[Certificate],
        at: datetime,
        now: datetime,
        result: OpensslResult,
    ) -> PathVerdict:
        path, end = build_path(leaf, [*served, *held], self._anchors, at)
        verdict = PathVerdict(
            "refused",
            False,
            path,
            public=self._anchors.is_public(path[-1]),
            codes=((result.code, result.depth),) if result.code is not None else (),
        )
        if end == "missing":
            return replace(verdict, reason="missing", trusted=None, missing_issuer=path[-1].issuer)
        if end == "self-signed":
            return replace(verdict, reason="self-signed" if len(path) == 1 else "untrusted-root")
        if (
            end == "anchor"
            and not valid_at(leaf, now)
            and all(valid_at(c, now) for c in path[1:])
            and not all(valid_at(c, at) for c in path[1:])
        ):
            # The leaf and its CA are never valid at the same time. Only the dates of the leaf are
            # at fault.
            return replace(verdict, reason="ok", codes=())
        equivalent = self._anchors.equivalent(path, at, result) if end == "anchor" else None
        if equivalent is not None and equivalent.path is not None:
            unsent = [c for c in path[:-1] if c in held]
            in_time = valid_at(leaf, now)
            return self._accepted("incomplete" if unsent else "ok", path, in_time, now, unsent)
        result = equivalent or result
        if end == "anchor" and len(path) > 1:
            # Not the leaf, which has separate findings about its dates.
            expired = [c for c in path[1:] if c.not_after is not None and c.not_after < at]
            # Another intermediate, or another leaf, does not help under an expired private root.
            if expired and expired[-1] == path[-1] and self._anchors.is_own(path):
                return replace(verdict, reason="root-expired")
            if expired:
                return replace(verdict, reason="intermediate-expired")
        return replace(verdict, problem=refusal(result.code))


def _expired(path: Path, now: datetime) -> bool:
    """Return whether an expired issuer is the only fault of a path."""
    signed = all(issued_by(child, issuer) for child, issuer in pairwise(path))
    return signed and any(c.not_after is not None and c.not_after < now for c in path[1:-1])
