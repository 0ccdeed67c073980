"""dns-persist-01: a TXT record that names the CA and the account, and stays in the zone.

Pure. The format is that of draft-ietf-acme-dns-persist-02 (CA/Browser Forum ballot SC088v3, BR
3.2.2.4.22). If a CA publishes no ``accountHashPrefix``, it implements an earlier draft, in which
the record has the URL of the account.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from certmgr.checks.caa import parse_issue
from inventory.errors import CertmgrError
from inventory.names import display
from inventory.text import printable
from notifiers.wording.catalogue import Language
from notifiers.wording.letters import PersistLetterPhrases as P

CHALLENGE = "dns-persist-01"
LABEL = "_validation-persist"
MAX_ISSUERS = 10
MAX_STRING = 255  # octets of one character string of a TXT record (RFC 1035 3.3)
# The value of a parameter has no semicolon and no blank (RFC 8659 4.2).
_URI = re.compile(r"https://[\x21-\x3a\x3c-\x7e]{1,900}")
# RFC 8659 4.2: the issuer is a domain name of at least two labels.
_ISSUER = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


class PersistState(StrEnum):
    """Whether the records of a name would be accepted."""

    VALID = "valid"
    ENDS_SOON = "ends-soon"  # persistUntil is near
    MISSING = "missing"  # no record of this CA
    OTHER_ACCOUNT = "other-account"
    NO_WILDCARD = "no-wildcard"  # policy=wildcard is missing
    EXPIRED = "expired"  # persistUntil is over
    UNKNOWN = "unknown"  # the DNS did not answer


@dataclass(frozen=True, slots=True)
class PersistRecord:
    """The record that a CA expects.

    Attributes:
        name: The name that is validated, in A-labels and without ``*.``.
        issuers: The CA's names, of which the record has one.
        account: The hashed URI of the account, or its URL for an earlier draft.
        wildcard: Whether a wildcard of the name is validated.
        until: The value of persistUntil in epoch seconds; None without an end.
    """

    name: str
    issuers: tuple[str, ...]
    account: str
    wildcard: bool = False
    until: int | None = None

    @property
    def owner(self) -> str:
        """The name of the TXT record."""
        return f"{LABEL}.{self.name}"

    @property
    def value(self) -> str:
        """The value of the TXT record."""
        # One record is enough: each of the CA's names stands for the same CA.
        parts = [self.issuers[0], f"accounturi={self.account}"]
        if self.wildcard:
            parts.append("policy=wildcard")
        if self.until is not None:
            parts.append(f"persistUntil={self.until}")
        return "; ".join(parts)

    @property
    def zone_line(self) -> str:
        """The record in zone file syntax, in strings of at most 255 octets."""
        value = self.value
        parts = [value[i : i + MAX_STRING] for i in range(0, len(value), MAX_STRING)]
        strings = " ".join(f'"{part}"' for part in parts)
        return f"{self.owner}. IN TXT {strings}"


@dataclass(frozen=True, slots=True)
class PersistVerdict:
    """Whether records would be accepted, and why.

    Attributes:
        state: The verdict.
        reason: The reason in words.
        until: When the best record ends, in epoch seconds; None without an end.
    """

    state: PersistState
    reason: str
    until: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether a CA would accept the records now."""
        return self.state in (PersistState.VALID, PersistState.ENDS_SOON)


def account_uri(prefix: object, domain: str, thumbprint: str, url: str) -> str:
    """Return the value of ``accounturi`` (draft -02, 4.1).

    Args:
        prefix: ``accountHashPrefix`` of the directory; None for a CA of an earlier draft.
        domain: The name in lower-case A-labels, without a trailing dot.
        thumbprint: The thumbprint of the current account key (RFC 7638), base64url.
        url: The URL of the account.

    Raises:
        CertmgrError: The prefix is not a URL that fits into the record.
    """
    # The earlier draft names the account by its URL, which every party can compare as text.
    if prefix is None:
        return url
    if not isinstance(prefix, str) or not _URI.fullmatch(prefix):
        raise CertmgrError(
            "The record for dns-persist-01 cannot be computed",
            f"the CA's accountHashPrefix '{printable(str(prefix), 80)}' is not an https:// URL",
            "Use another solver for this CA.",
        )
    name = domain.encode("ascii")
    # The length byte keeps two different pairs of name and thumbprint from the same digest.
    data = bytes([len(name)]) + name + thumbprint.encode("ascii") + url.encode("ascii")
    digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{prefix}sha-256/{digest}"


def issuer_names(value: object) -> tuple[str, ...]:
    """Return the issuer domain names of a challenge or a directory.

    Raises:
        CertmgrError: It is not a list of 1 to 10 names in lower-case A-labels (draft -02, 3.1).
    """
    names = list(value) if isinstance(value, (list, tuple)) else []
    valid = all(isinstance(n, str) and len(n) <= 253 and _ISSUER.fullmatch(n) for n in names)
    if not 1 <= len(names) <= MAX_ISSUERS or not valid:
        raise CertmgrError(
            "The CA's offer of dns-persist-01 cannot be used",
            "its issuerDomainNames are not 1 to 10 domain names in lower case",
            "Use another solver for this CA.",
        )
    return tuple(names)


def judge(record: PersistRecord, values: Sequence[str], now: int, warn: int) -> PersistVerdict:
    """Return whether a CA would accept the TXT values of a name.

    One record that is right is enough, whatever else is there.

    Args:
        record: The record that is expected. Its ``until`` is not compared.
        values: The TXT values at the record's name.
        now: The current time in epoch seconds.
        warn: Seconds before persistUntil from which the end is near.
    """
    best = PersistVerdict(PersistState.MISSING, f"there is no record at {record.owner}")
    ends: list[int | None] = []
    for value in values:
        issuer, parameters = parse_issue(value)
        if issuer not in record.issuers:
            continue
        tags = [t for t, _ in parameters]
        given = dict(parameters)
        until = given.get("persistuntil")
        if len(set(tags)) < len(tags) or (until is not None and not _is_number(until)):
            best = _worse(best, PersistState.MISSING, f"a record at {record.owner} is malformed")
        # Simple string comparison (RFC 3986 6.2.1).
        elif given.get("accounturi") != record.account:
            best = _worse(best, PersistState.OTHER_ACCOUNT, "the record names another account")
        elif record.wildcard and given.get("policy", "").lower() != "wildcard":
            best = _worse(best, PersistState.NO_WILDCARD, "the record lacks policy=wildcard")
        elif until is not None and int(until) <= now:
            ended = f"the record ended at {_date(int(until))} (persistUntil)"
            best = _worse(best, PersistState.EXPIRED, ended)
        else:
            ends.append(None if until is None else int(until))
    if not ends:
        return best
    # A record without an end covers whatever the others state.
    if None in ends:
        return PersistVerdict(PersistState.VALID, "the record is published")
    last = max(e for e in ends if e is not None)
    if last - now < warn:
        ends_at = f"the record ends at {_date(last)} (persistUntil)"
        return PersistVerdict(PersistState.ENDS_SOON, ends_at, last)
    return PersistVerdict(PersistState.VALID, "the record is published", last)


_ORDER = (
    PersistState.MISSING,
    PersistState.OTHER_ACCOUNT,
    PersistState.NO_WILDCARD,
    PersistState.EXPIRED,
)


def _worse(best: PersistVerdict, state: PersistState, reason: str) -> PersistVerdict:
    """Return the verdict of the record that comes closest to the expected one."""
    if _ORDER.index(state) >= _ORDER.index(best.state):
        return PersistVerdict(state, reason)
    return best


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15


def _date(at: int) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return str(at)


def letter(records: Sequence[PersistRecord], ca: str, provider: str, language: Language) -> str:
    """Return a letter to the administrator of a client's DNS, as plain text.

    Args:
        records: The records to add.
        ca: The title of the CA.
        provider: The name of the provider; empty if unknown.
        language: The language of the client.
    """
    until = next((r.until for r in records if r.until is not None), None)
    # The end is part of the record in UTC, so that the letter has the same time.
    end = language(P.ends).format(date=_date(until)) if until is not None else language(P.no_end)
    wide = [language(P.wide)] if any(r.wildcard for r in records) else []
    before = [language(P.subject).format(name=display(records[0].name))]
    before.append(language(P.please).format(ca=ca))
    after = [language(P.form), *wide, end, language(P.nothing), provider or language(P.provider)]
    # The records keep their lines, because they are copied.
    lines = "\n".join(f"    {r.zone_line}" for r in records)
    parts = [*map(_wrapped, before), lines, *map(_wrapped, after)]
    return "\n\n".join(parts) + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 95, break_long_words=False, break_on_hyphens=False)
