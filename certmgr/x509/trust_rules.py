"""Dated rules of browsers about CAs, as values. Pure.

certifi is Mozilla's list of one day, without its dates. These rules add what it leaves out:
removals since, CAs whose later certificates are refused, blocked keys, and announced removals.
``trust_rules.toml`` ships with certmgr; certmgr/x509/trust_data.py loads and replaces it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate
from inventory.errors import UsageError
from inventory.text import printable

SCHEMA = "certmgr.trust-rules/1"
BROWSERS = ("chrome", "mozilla")
BROWSER_NAMES = {"chrome": "Chrome", "mozilla": "Firefox"}
# removed: the root is no longer in the store. not-trusted-after: certificates that were issued or
# logged later are refused. blocked: the key is refused wherever it stands in a path. included: the
# root was in the list at that time, which disproves uncertain rules of before. key-age: the root is
# removed because its key is old. key: RSA keys below a size. eku: leaves with a further purpose.
KINDS = ("removed", "not-trusted-after", "blocked", "included", "key-age", "key", "eku")
CONFIDENCES = ("V", "S", "M")
# Far above the number of roots that browsers ever had, and low enough for one pass over a file.
MAX_RULES = 20_000
MAX_SELECTORS = 200_000
_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class TrustRule:
    """One rule. Dates are aware UTC.

    Attributes:
        name: Identifies the rule within its file.
        browsers: Names of :data:`BROWSERS`.
        kind: One of :data:`KINDS`.
        ca: The CA as people call it.
        at: From when the rule holds; None: always. For not-trusted-after, the last time at which
            a certificate may have been issued or logged.
        basis: not-trusted-after: ``issued`` (notBefore) or ``logged`` (the earliest SCT).
        certificates: SHA-256 fingerprints of roots or intermediates, in hexadecimal.
        spki: SHA-256 of public keys (SubjectPublicKeyInfo), in hexadecimal.
        organisations: Organisations of roots. They select only roots of the browsers' list, since
            any private CA may use any name.
        key_from: key-age: keys that were made at this time or later.
        key_until: key-age: keys that were made before this time; None: without an end.
        years: key-age: the age at which the key is removed, instead of ``at``.
        rsa_bits: key: the smallest RSA key that is accepted.
        issued_from: eku: leaves that were issued at this time or later.
        approximate: The browser's programme itself calls the date approximate.
        source: Where the rule is published.
        confidence: V (read in the primary source), S (read in an excerpt), M (from memory).
        origin: ``ccadb`` if it was made from a report of the CCADB; empty otherwise.
    """

    name: str
    browsers: tuple[str, ...]
    kind: str
    ca: str
    source: str
    confidence: str
    at: datetime | None = None
    basis: str = ""
    certificates: frozenset[str] = frozenset()
    spki: frozenset[str] = frozenset()
    organisations: tuple[str, ...] = ()
    key_from: datetime | None = None
    key_until: datetime | None = None
    years: int = 0
    rsa_bits: int = 0
    issued_from: datetime | None = None
    approximate: bool = False
    origin: str = ""

    @property
    def certain(self) -> bool:
        """Whether the rule surely holds once its date has passed.

        An approximate date, or a rule from memory, leaves it open.
        """
        return not self.approximate and self.confidence != "M"


class TrustRules:
    """All rules of one version, indexed.

    Args:
        version: Names the data; every verdict states it.
        day: The day of the data.
        rules: The rules.
        source: Where the data comes from: built-in, or the path of the replacement.
        updated: When it was installed; None for the built-in data.
    """

    def __init__(
        self,
        version: str,
        day: date,
        rules: Iterable[TrustRule],
        source: str = "built-in",
        updated: datetime | None = None,
    ) -> None:
        self.version, self.day, self.source, self.updated = version, day, source, updated
        self.rules = tuple(rules)
        self._by_certificate: dict[str, list[TrustRule]] = {}
        self._by_spki: dict[str, list[TrustRule]] = {}
        self._by_organisation: list[TrustRule] = []
        for rule in self.rules:
            for sha256 in rule.certificates:
                self._by_certificate.setdefault(sha256, []).append(rule)
            for spki in rule.spki:
                self._by_spki.setdefault(spki, []).append(rule)
            if rule.organisations:
                self._by_organisation.append(rule)
        self.blocks_keys = any(r.kind == "blocked" and r.spki for r in self.rules)
        # Rules without a list of certificates are tried for each path, so that they are few.
        self.general = tuple(r for r in self.rules if r.kind in ("key-age", "key", "eku"))

    def for_issuer(self, issuer: Certificate, *, public: bool) -> list[TrustRule]:
        """Return the rules that select a root or intermediate.

        Args:
            public: Whether it is a root of the browsers' list.
        """
        found = list(self._by_certificate.get(issuer.sha256, ()))
        if self._by_spki:
            found += self._by_spki.get(spki_sha256(issuer), ())
        # Any private CA may call itself like a public one, so that names select only known roots.
        if public:
            found += [r for r in self._by_organisation if _has_organisation(issuer, r)]
        return list(dict.fromkeys(found))

    def for_fingerprint(self, sha256: str) -> list[TrustRule]:
        """Return the rules that block a leaf by its fingerprint."""
        return [r for r in self._by_certificate.get(sha256, ()) if r.kind == "blocked"]

    def for_leaf(self, leaf: Certificate) -> list[TrustRule]:
        """Return the rules that block the certificate itself, or its key."""
        found = self.for_fingerprint(leaf.sha256)
        # Reading a key costs more than all other steps, so it is read only if a key is blocked.
        if self.blocks_keys:
            found += [r for r in self._by_spki.get(spki_sha256(leaf), ()) if r.kind == "blocked"]
        return list(dict.fromkeys(found))


# By fingerprint: a cache of certificates would keep huge ones in memory.
_keys: dict[str, str] = {}


def spki_sha256(certificate: Certificate) -> str:
    """Return the SHA-256 of the public key in hexadecimal; empty if it cannot be read."""
    known = _keys.get(certificate.sha256)
    if known is None:
        # Bounded memory. Clearing everything is cheap compared with an eviction order.
        if len(_keys) >= 8192:
            _keys.clear()
        known = _keys[certificate.sha256] = _spki_sha256(certificate)
    return known


def _spki_sha256(certificate: Certificate) -> str:
    if certificate.parsed is None:
        return ""
    try:
        der = certificate.parsed.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    except PARSE_ERRORS:
        return ""
    return hashlib.sha256(der).hexdigest()


def _has_organisation(certificate: Certificate, rule: TrustRule) -> bool:
    """Return whether the subject has an O, or a CN, of the rule."""
    parts = {
        part.partition("=")[2]
        for part in certificate.subject.replace(", O=", "\nO=")
        .replace(", CN=", "\nCN=")
        .split("\n")
    }
    return any(
        part == name or part.startswith(f"{name}, ")
        for part in parts
        for name in rule.organisations
    )


def normalised_hash(text: str) -> str | None:
    """Return a SHA-256 in lower-case hexadecimal; None if the text is not one.

    Accepted are hexadecimal with or without colons, and base64 as in a pin (``sha256/...``).
    """
    bare = text.strip().strip("\"'")
    plain = bare.replace(":", "").replace(" ", "").lower()
    if _HASH.fullmatch(plain):
        return plain
    try:
        # The form of a pin (RFC 7469), which browsers use in their own lists.
        raw = base64.b64decode(bare.removeprefix("sha256/"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == 32 else None


_DATES = frozenset({"at", "key_from", "key_until", "issued_from"})
_HASHES = frozenset({"certificates", "spki"})
_LISTS = frozenset({"browsers", "organisations"})
_KEYS = frozenset(f.name for f in fields(TrustRule))


def parse_rules(document: Mapping[str, Any], what: str) -> TrustRules:
    """Validate a document and return its rules.

    Args:
        document: The content of a TOML or JSON file.
        what: Names the file in errors.

    Raises:
        UsageError: The document is invalid. The reason names the rule and its key.
    """
    if document.get("schema") != SCHEMA:
        raise _invalid(what, f'it has no schema = "{SCHEMA}"')
    unknown = set(document) - {"schema", "version", "date", "updated", "rule"}
    if unknown:
        raise _invalid(what, f"it has the unknown key '{printable(min(unknown), 60)}'")
    version = document.get("version")
    # Every verdict states the version, so that it is short and plain.
    if not isinstance(version, str) or not re.fullmatch(r"[0-9A-Za-z.+_-]{1,80}", version):
        raise _invalid(what, "its version must be 1 to 80 letters, digits, dots and dashes")
    day, rows = _time(document.get("date")), document.get("rule")
    if day is None:
        raise _invalid(what, "its date is not a date such as 2026-11-27")
    if not isinstance(rows, list) or not rows:
        raise _invalid(what, "it has no rule")
    if len(rows) > MAX_RULES:
        raise _invalid(what, f"it has more than {MAX_RULES:,} rules")
    rules = [_rule(row, f"rule {number}", what) for number, row in enumerate(rows, 1)]
    names = {r.name for r in rules}
    if len(names) != len(rules):
        raise _invalid(what, "two rules have the same name")
    if sum(len(r.certificates) + len(r.spki) for r in rules) > MAX_SELECTORS:
        raise _invalid(what, f"it names more than {MAX_SELECTORS:,} certificates and keys")
    return TrustRules(version, day.date(), rules, what, _time(document.get("updated")))


def _invalid(what: str, why: str) -> UsageError:
    return UsageError(
        f"{what} is not a file of trust rules",
        why,
        "Compare it with the output of certmgr trust show --format json.",
    )


def _time(value: object) -> datetime | None:
    """Return a date or time as aware UTC; None if it is neither. A date is its first second."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if len(value) > 10 else date.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        try:
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        except OverflowError:
            return None
    return datetime.combine(value, time(0), UTC) if isinstance(value, date) else None


def _rule(row: object, where: str, what: str) -> TrustRule:
    if not isinstance(row, Mapping):
        raise _invalid(what, f"{where} is not a table")
    if isinstance(row.get("name"), str):
        where = f"{where} ('{printable(row['name'], 60)}')"
    unknown = set(row) - _KEYS
    if unknown:
        raise _invalid(what, f"{where} has the unknown key '{printable(min(unknown), 60)}'")
    values: dict[str, Any] = {}
    for key, value in row.items():
        values[key] = _value(key, value, f"{where}: {key}", what)
    missing = {"name", "browsers", "kind", "ca", "source", "confidence"} - {
        k for k, v in values.items() if v
    }
    if missing:
        raise _invalid(what, f"{where} has no {min(missing)}")
    rule = TrustRule(**values)
    if problem := _problem(rule):
        raise _invalid(what, f"{where}: {problem}")
    return rule


def _value(key: str, value: object, where: str, what: str) -> Any:
    """Return one value in the type of its attribute."""
    if key in _DATES:
        if (at := _time(value)) is None:
            raise _invalid(what, f"{where} is not a date")
        return at
    if key in _HASHES | _LISTS:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise _invalid(what, f"{where} is not a list of texts")
        if key in _LISTS:
            return tuple(v[:_MAX_TEXT] for v in value)
        hashes = [normalised_hash(v) for v in value]
        if None in hashes:
            bad = value[hashes.index(None)]
            raise _invalid(what, f"{where}: '{printable(bad, 80)}' is not a SHA-256")
        return frozenset(hashes)
    expected: type = {"approximate": bool, "years": int, "rsa_bits": int}.get(key, str)
    if type(value) is not expected:
        raise _invalid(what, f"{where} has the wrong type")
    if isinstance(value, str):
        return printable(value, _MAX_TEXT)
    return value


def _problem(rule: TrustRule) -> str:
    """Return what is contradictory in a rule; empty if nothing is."""
    if set(rule.browsers) - set(BROWSERS):
        return f"browsers must be of {', '.join(BROWSERS)}"
    if rule.kind not in KINDS:
        return f"kind must be one of {', '.join(KINDS)}"
    if rule.confidence not in CONFIDENCES:
        return "confidence must be V, S or M"
    selected = rule.certificates or rule.spki or rule.organisations
    by_selection = ("removed", "not-trusted-after", "blocked", "included")
    if rule.kind in by_selection and not selected:
        return "it selects no certificate: give certificates, spki or organisations"
    # The statement "it was in the list" means nothing without the day of the list.
    if rule.kind == "included" and rule.at is None:
        return "included needs at"
    if rule.kind == "not-trusted-after" and (
        rule.at is None or rule.basis not in ("issued", "logged")
    ):
        return "not-trusted-after needs at, and a basis of issued or logged"
    if rule.kind == "key-age" and (
        rule.key_from is None or (rule.at is None) == (rule.years == 0) or rule.years < 0
    ):
        return "key-age needs key_from, and either at or years"
    if rule.kind == "key" and rule.rsa_bits <= 0:
        return "key needs rsa_bits"
    if rule.kind == "eku" and rule.issued_from is None:
        return "eku needs issued_from"
    return ""


def document_of(rules: TrustRules) -> dict[str, Any]:
    """Return the rules as a document that :func:`parse_rules` accepts."""
    return {
        "schema": SCHEMA,
        "version": rules.version,
        "date": rules.day.isoformat(),
        **({"updated": _text(rules.updated)} if rules.updated else {}),
        "rule": [rule_row(r) for r in rules.rules],
    }


def rule_row(rule: TrustRule) -> dict[str, Any]:
    """Return a rule as plain values, without the attributes that are empty."""
    row: dict[str, Any] = {}
    for attribute in fields(TrustRule):
        value = getattr(rule, attribute.name)
        # An empty attribute has its default, so that documents stay short and comparable.
        if not value:
            continue
        if isinstance(value, datetime):
            value = _text(value)
        elif isinstance(value, frozenset):
            value = sorted(value)
        row[attribute.name] = list(value) if isinstance(value, tuple) else value
    return row


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
