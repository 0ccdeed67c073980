"""Until when each browser trusts a certificate. Pure: candidates, rules and clock are parameters.

A browser trusts a certificate as long as one path to a root of its list holds. So all paths are
built, through cross-certificates too, and the path that holds longest decides. Roots removed, keys
blocked, dates of issue and the age of keys come from :class:`~certmgr.x509.trust_rules.TrustRules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certmgr.x509.anchors import MAX_PATH
from certmgr.x509.trust_rules import BROWSERS, TrustRule, TrustRules, spki_sha256
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate

# Limits for hostile chains: certificates with one subject, paths of one leaf, and issuers that are
# visited on the way. Ten CAs that all sign each other have a million paths, and none of them ends.
MAX_ISSUERS = 8
MAX_PATHS = 64
MAX_STEPS = 500
NOTICE = timedelta(days=90)
"""How long before the end of trust it is reported."""
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

Path = tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class LeafDates:
    """What the rules need to know of a leaf.

    Attributes:
        not_before: When it was issued.
        not_after: Its last second.
        logged: The earliest embedded SCT; None without one, and then ``not_before`` stands in.
        server_only: Whether its extended key usage has no purpose besides a server's.
        rules: The rules that block the leaf itself, or its key.
        rsa_bits: The size of its RSA key; 0 for another key.
    """

    not_before: datetime
    not_after: datetime
    logged: datetime | None = None
    server_only: bool = True
    rules: tuple[TrustRule, ...] = ()
    rsa_bits: int = 0


@dataclass(frozen=True, slots=True)
class TrustEnd:
    """Until when one browser trusts a certificate.

    Attributes:
        browser: A name of :data:`~certmgr.x509.trust_rules.BROWSERS`.
        at: The first time at which the browser does not trust the best path.
        rule: The rule that ends it; None if a certificate of the path expires.
        root: The subject of the root of the best path.
        not_after: The end of the leaf, which ``at`` is compared with.
        paths: How many paths were compared.
        unsent: The best path needs this certificate, which the server does not send; else empty.
    """

    browser: str
    at: datetime
    rule: TrustRule | None
    root: str
    not_after: datetime
    paths: int = 1
    unsent: str = ""

    @property
    def early(self) -> bool:
        """Whether trust ends before the certificate does."""
        return self.at <= self.not_after

    @property
    def certain(self) -> bool:
        """Whether the end surely comes at this time."""
        return self.rule is None or self.rule.certain

    def state(self, now: datetime) -> str:
        """Return ``trusted``, ``ends`` (before the certificate), ``ended`` or ``undetermined``.

        An approximate date that has passed leaves open whether the browser has acted.
        """
        if now < self.at:
            return "ends" if self.early else "trusted"
        return "ended" if self.certain else "undetermined"


def leaf_dates(leaf: Certificate, rules: TrustRules) -> LeafDates | None:
    """Return what the rules need to know of a leaf; None if it has no dates."""
    if leaf.not_before is None or leaf.not_after is None:
        return None
    return LeafDates(
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        logged=min((t for _, t in leaf.scts), default=None),
        server_only=_server_only(leaf),
        rules=tuple(rules.for_leaf(leaf)),
        rsa_bits=leaf.key_bits if leaf.key_type == "RSA" else 0,
    )


def _server_only(leaf: Certificate) -> bool:
    if leaf.parsed is None or leaf.server_auth is None:
        return True
    try:
        usage = leaf.parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, *PARSE_ERRORS):
        return True
    return all(purpose == ExtendedKeyUsageOID.SERVER_AUTH for purpose in usage)


@dataclass(slots=True)
class PathFinder:
    """Finds all paths from an issuer to the roots of the browsers' list.

    The signature checks of issuers are kept, since the leaves of one CA share them.

    Attributes:
        roots: The roots of the browsers' list, by subject.
        issuers: Returns the known intermediates with a subject.
    """

    roots: dict[bytes, list[Certificate]]
    issuers: Callable[[bytes], Sequence[Certificate]]
    _signed: dict[tuple[str, str], bool] = field(default_factory=dict)
    _steps: int = 0

    @classmethod
    def of(
        cls, roots: Iterable[Certificate], issuers: Callable[[bytes], Sequence[Certificate]]
    ) -> PathFinder:
        """Return a finder for these roots."""
        by_subject: dict[bytes, list[Certificate]] = {}
        for root in roots:
            by_subject.setdefault(root.subject_key, []).append(root)
        return cls(by_subject, issuers)

    def _issued(self, child: Certificate, issuer: Certificate) -> bool:
        key = (child.sha256, issuer.sha256)
        if key not in self._signed:
            # Bounded memory. Clearing everything is cheap compared with an eviction order.
            if len(self._signed) >= 100_000:
                self._signed.clear()
            self._signed[key] = issued_by(child, issuer)
        return self._signed[key]

    def paths(
        self, leaf: Certificate, served: Sequence[Certificate], verified: Sequence[Certificate] = ()
    ) -> list[Path]:
        """Return the paths of a leaf, the leaf first and the root last.

        Args:
            leaf: The certificate of the server.
            served: The other certificates that the server sent.
            verified: A path of the leaf that was verified before. An issuer with the same key
                needs no second check of the signature.
        """
        issuer_key = spki_sha256(verified[1]) if len(verified) > 1 else ""
        found: list[Path] = []
        self._steps = MAX_STEPS
        for issuer in self._candidates(leaf, served):
            # The same key made the signature, whichever certificate of the issuer is meant.
            known = bool(issuer_key) and spki_sha256(issuer) == issuer_key
            if known or self._issued(leaf, issuer):
                for upper in self._upwards((issuer,), served):
                    found.append((leaf, *upper))
                    if len(found) >= MAX_PATHS:
                        return found
        return found

    def _candidates(self, child: Certificate, served: Sequence[Certificate]) -> list[Certificate]:
        subject = child.issuer_key
        # Roots first: the search ends with the first sixty-four paths, and those to a root decide.
        candidates = [
            *self.roots.get(subject, ())[:MAX_ISSUERS],
            *[c for c in served if c.subject_key == subject][:MAX_ISSUERS],
            *self.issuers(subject)[:MAX_ISSUERS],
        ]
        return [c for c in dict.fromkeys(candidates) if c.parsed is not None]

    def issuers_of(self, child: Certificate, served: Sequence[Certificate]) -> list[Certificate]:
        """Return the known certificates that issued another one."""
        return [c for c in self._candidates(child, served) if self._issued(child, c)]

    def _upwards(self, path: Path, served: Sequence[Certificate]) -> Iterator[Path]:
        top = path[-1]
        if top in self.roots.get(top.subject_key, ()):
            yield path
            return
        # A self-issued certificate that is not a root of the list leads nowhere.
        if len(path) > MAX_PATH or top.self_issued:
            return
        self._steps -= 1
        if self._steps <= 0:
            return
        keys = {spki_sha256(c) for c in path}
        for issuer in self._candidates(top, served):
            # The same key twice would be a circle of cross-certificates.
            if spki_sha256(issuer) not in keys and self._issued(top, issuer):
                yield from self._upwards((*path, issuer), served)


@dataclass(frozen=True, slots=True)
class UpperPath:
    """The issuers of a leaf up to the root, with the rules about them. Leaves share it.

    Attributes:
        rules: The rules that select an issuer of the path.
        root_made: notBefore of the root, which stands in for the day its key was made.
        ends: The first end of its certificates.
        rsa_bits: The smallest RSA key of the issuers; 0 if there is none.
        unsent: An issuer that the server does not send; empty if it sends all that are needed.
    """

    root: str
    rules: tuple[TrustRule, ...]
    root_made: datetime | None
    ends: datetime
    rsa_bits: int = 0
    unsent: str = ""


def upper_path(
    issuers: Path, rules: TrustRules, served: Iterable[str] = (), *, public: bool = True
) -> UpperPath:
    """Return the issuers of a path with the rules about them.

    Args:
        issuers: The issuer of the leaf first, the root last.
        served: The fingerprints of the certificates that the server sent.
        public: Whether the root is one of the browsers' list.
    """
    root, sent = issuers[-1], set(served)
    selected: dict[TrustRule, None] = {}
    for issuer in issuers:
        for rule in rules.for_issuer(issuer, public=public and issuer is root):
            # A removal concerns the root itself: as an intermediate it may still be trusted.
            if rule.kind != "removed" or issuer is root:
                selected[rule] = None
    return UpperPath(
        root=root.subject,
        rules=tuple(selected),
        root_made=root.not_before,
        ends=min((c.not_after for c in issuers if c.not_after is not None), default=_LATEST),
        # The signature of the root itself is not checked, but its key signs the next certificate.
        rsa_bits=min((c.key_bits for c in issuers if c.key_type == "RSA"), default=0),
        unsent=next((c.subject for c in issuers[:-1] if c.sha256 not in sent), ""),
    )


def trusted_until(
    leaf: LeafDates, paths: Sequence[UpperPath], rules: TrustRules
) -> tuple[TrustEnd, ...]:
    """Return until when each browser trusts a certificate; empty without a path to a public root.

    The path that holds longest decides, as browsers try all of them. Of two equal paths, one that
    the server sends completely is preferred, and then one that expires instead of being refused.
    """
    ends = []
    # Each browser has other rules, and a client's visitors use all of them.
    for browser in BROWSERS:
        best: TrustEnd | None = None
        for path in paths:
            at, rule = _end_of(leaf, path, rules, browser)
            end = TrustEnd(
                browser,
                at,
                rule,
                root=path.root,
                not_after=leaf.not_after,
                paths=len(paths),
                unsent=path.unsent,
            )
            if best is None or _rank(end) > _rank(best):
                best = end
        if best is not None:
            ends.append(best)
    return tuple(ends)


def _rank(end: TrustEnd) -> tuple[datetime, bool, bool]:
    # A path beyond the end of the leaf is as good as any other such path.
    return min(end.at, end.not_after), not end.unsent, end.rule is None


def _end_of(
    leaf: LeafDates, path: UpperPath, rules: TrustRules, browser: str
) -> tuple[datetime, TrustRule | None]:
    """Return when one path ends for one browser, and by which rule."""
    first: datetime = _after(min(leaf.not_after, path.ends))
    by: TrustRule | None = None
    concerned = [r for r in (*leaf.rules, *path.rules, *rules.general) if browser in r.browsers]
    listed = max((r.at for r in concerned if r.kind == "included" and r.at), default=ALWAYS)
    for rule in concerned:
        at = rule_end(rule, leaf, path)
        # The root was still in the list after this date, so the browser acts later, if ever.
        if (
            at is not None
            and at <= listed
            and rule.kind in ("removed", "key-age")
            and (rule.approximate or rule.confidence != "V")
        ):
            continue
        # Of two rules with one date, the one that is certain gives the reason.
        if at is not None and (
            at < first or (at == first and by is not None and rule.certain and not by.certain)
        ):
            first, by = at, rule
    return first, by


def _after(last: datetime) -> datetime:
    """Return the second after the last one. notAfter is inclusive (RFC 5280 4.1.2.5)."""
    return last + timedelta(seconds=1) if last < _LATEST else _LATEST


def rule_end(rule: TrustRule, leaf: LeafDates, path: UpperPath) -> datetime | None:
    """Return from when a rule ends the trust in a path; None if it does not."""
    match rule.kind:
        case "removed" | "blocked":
            return rule.at or ALWAYS
        case "not-trusted-after":
            assert rule.at is not None
            # Chrome takes the earliest SCT; Mozilla takes notBefore.
            issued = leaf.logged if rule.basis == "logged" else leaf.not_before
            issued = leaf.not_before if issued is None else issued
            # An earlier certificate stays trusted to its end; a later one never was trusted.
            return max(rule.at, leaf.not_before) if issued > rule.at else None
        case "key-age":
            return _key_age_end(rule, path.root_made)
        case "key":
            sizes = [b for b in (leaf.rsa_bits, path.rsa_bits) if b]
            return (rule.at or ALWAYS) if sizes and min(sizes) < rule.rsa_bits else None
        case "eku":
            assert rule.issued_from is not None
            refused = not leaf.server_only and leaf.not_before >= rule.issued_from
            return max(rule.at or ALWAYS, leaf.not_before) if refused else None
    return None


def _key_age_end(rule: TrustRule, made: datetime | None) -> datetime | None:
    assert rule.key_from is not None
    # The rule lists generations of keys by the years in which they were made (Chrome Root Program
    # 1.8; Mozilla 7.4).
    if made is None or made < rule.key_from:
        return None
    if rule.key_until is not None and made >= rule.key_until:
        return None
    if rule.at is not None:
        return rule.at
    if made.year + rule.years > 9999:
        return None
    # A key that was made on 29 February gets its years on 28 February.
    day = 28 if (made.month, made.day) == (2, 29) else made.day
    return made.replace(year=made.year + rule.years, day=day)


def change_dates(ends: Iterable[TrustEnd]) -> list[datetime]:
    """Return the times at which a verdict about these ends changes."""
    dates = []
    for end in ends:
        # A trust that never began has no day on which anything changes.
        if end.early and end.at > ALWAYS:
            dates += [end.at - NOTICE, end.at - URGENT, end.at]
    return dates


URGENT = timedelta(days=14)
"""From then on it is urgent: a new certificate takes days to buy, validate and install."""
