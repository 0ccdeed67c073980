"""CAA: which CA may issue for a name (RFC 8659), and for which account and method (RFC 8657).

Pure, except for the DNS query that is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certmgr.net.dns_records import CaaRecord
from inventory.names import as_ip
from inventory.text import printable

if TYPE_CHECKING:
    from certmgr.net.dns_answers import DnsAnswer

# Tags that every CA of the Web PKI supports, so their critical flag prevents no issuance (RFC 8659
# 4.1; RFC 9495; BR 3.2.2.4.13, 3.2.2.4.17).
KNOWN = frozenset(
    {"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"}
)
CRITICAL = 128
# RFC 8659 counts bits from the most significant one, and many users set the value 1 by mistake.
# Let's Encrypt's software treats 1 as critical too; other CAs do not have to.
MISTAKEN_CRITICAL = 1

_DOMAIN = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\Z"
)
_PARAMETER = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)[ \t]*=[ \t]*([\x21-\x3a\x3c-\x7e]*)\Z"
)


@dataclass(frozen=True, slots=True)
class CaaSet:
    """The relevant record set of a name.

    Attributes:
        found_at: The name that has the records: the name itself or one above it.
        status: found, none (no name up to the root has a record) or unknown (a query failed).
        reason: Why the status is unknown.
        owner: The name that holds the records, if a CNAME leads from ``found_at`` to it.
    """

    found_at: str = ""
    records: tuple[CaaRecord, ...] = ()
    status: str = "none"
    reason: str = ""
    owner: str = ""

    @property
    def place(self) -> str:
        """Where the records stand, in words."""
        if self.owner:
            return f"{self.owner} (to which {self.found_at} is a CNAME)"
        return self.found_at


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether a CA may issue.

    Attributes:
        allowed: None if undetermined.
        record: The text of the deciding record; empty if there is none.
    """

    allowed: bool | None
    reason: str
    record: str = ""


def find(ask: Callable[[str, str], DnsAnswer], name: str) -> CaaSet:
    """Return the relevant record set (RFC 8659 3).

    It is that of the name, or of the nearest name above it. The root is not queried. An IP address
    has no CAA.

    Args:
        ask: Queries a resolver, which follows CNAMEs.
        name: A name in A-label form, or a wildcard.
    """
    if as_ip(name) is not None:
        return CaaSet(reason="an IP address has no CAA")
    # For a wildcard the search begins at the name below the asterisk (RFC 8659 3).
    labels = name.rstrip(".").lower().removeprefix("*.").split(".")
    for start in range(len(labels)):
        above = ".".join(labels[start:])
        answer = ask(above, "CAA")
        # A failed query does not prove that there is no record.
        if not answer.determined:
            return CaaSet(
                above,
                (),
                "unknown",
                f"the CAA records of {above} could not be queried: {answer.reason}",
            )
        records = tuple(r for r in answer.records if isinstance(r, CaaRecord))
        if records:
            owner = answer.canonical if answer.canonical not in ("", above) else ""
            return CaaSet(above, records, "found", owner=owner)
    return CaaSet()


def permits(
    caa_set: CaaSet,
    identities: Sequence[str],
    *,
    wildcard: bool = False,
    account_uri: str | None = None,
    method: str | None = None,
) -> Permission:
    """Return whether one of the CA's issuer domain names may issue.

    If ``account_uri`` or ``method`` is None, it is unknown, and a record that requires one gives no
    verdict.

    Args:
        identities: The issuer domain names of the CA.
        method: http-01, dns-01 or tls-alpn-01.
    """
    if caa_set.status == "unknown":
        return Permission(None, caa_set.reason)
    if caa_set.status == "none":
        return Permission(True, caa_set.reason or "no name up to the root has a CAA record")
    unknown_tags = [r for r in caa_set.records if r.tag not in KNOWN]
    if (record := critical_unknown(caa_set)) is not None:
        return Permission(
            False,
            f"a critical record at {caa_set.place} that no CA supports",
            _text(caa_set, record),
        )
    # Records with other tags alone do not restrict issuance (RFC 8659).
    relevant = _relevant(caa_set, wildcard)
    if not relevant:
        decided = Permission(True, f"the CAA records of {caa_set.place} do not restrict who issues")
    else:
        decided = _decide(
            caa_set, relevant, {i.rstrip(".").lower() for i in identities}, account_uri, method
        )
    if (
        decided.allowed
        and (record := next((r for r in unknown_tags if r.flags & MISTAKEN_CRITICAL), None))
        is not None
    ):
        return Permission(
            None,
            "a record with an unknown tag and flag 1, which some CAs treat as critical",
            _text(caa_set, record),
        )
    return decided


def critical_unknown(caa_set: CaaSet) -> CaaRecord | None:
    """Return a critical record with a tag that CAs do not support.

    A CA must not issue then, whatever the other records permit (RFC 8659 4.1).
    """
    return next((r for r in caa_set.records if r.tag not in KNOWN and r.flags & CRITICAL), None)


def _relevant(caa_set: CaaSet, wildcard: bool) -> list[CaaRecord]:
    """Return the records that decide.

    For a wildcard, issuewild replaces issue. For other names it does not count (RFC 8659 4.3).
    """
    wild = [r for r in caa_set.records if r.tag == "issuewild"]
    return wild if wildcard and wild else [r for r in caa_set.records if r.tag == "issue"]


def _decide(
    caa_set: CaaSet,
    relevant: Sequence[CaaRecord],
    identities: set[str],
    account_uri: str | None,
    method: str | None,
) -> Permission:
    """Return the verdict of the relevant records: one that allows is enough."""
    refusals: list[Permission] = []
    for record in relevant:
        issuer, parameters = parse_issue(record.value)
        if issuer not in identities:
            continue
        verdict = _parameters_allow(parameters, account_uri, method)
        permission = Permission(verdict[0], verdict[1], _text(caa_set, record))
        if permission.allowed:
            return permission
        refusals.append(permission)
    # One record that allows is enough, and the undetermined one may be it.
    undetermined = next((r for r in refusals if r.allowed is None), None)
    if undetermined is not None or refusals:
        return undetermined or refusals[0]
    # The message names the allowed CAs, so that the administrator knows whom to ask.
    others = ", ".join(sorted({parse_issue(r.value)[0] for r in relevant} - {""})[:5])
    reason = (
        f"{caa_set.place} allows only {printable(others, 200)}"
        if others
        else f"{caa_set.place} allows no CA to issue"
    )
    return Permission(False, reason, _text(caa_set, relevant[0]))


def _parameters_allow(
    parameters: Sequence[tuple[str, str]], account_uri: str | None, method: str | None
) -> tuple[bool | None, str]:
    """Return whether the parameters of a record allow issuance, and the reason (RFC 8657 3 and 4).

    No CA can satisfy a parameter that appears twice.
    """
    # All public CAs must honour these parameters from 2027-03-15 (BR 2.3.0). A CA that ignores them
    # before that date issues nevertheless; the stricter verdict is the safe one. Account URIs are
    # compared as plain strings (RFC 8657 3).
    accounts = [v for t, v in parameters if t == "accounturi"]
    methods = [v for t, v in parameters if t == "validationmethods"]
    if len(accounts) > 1 or len(methods) > 1:
        return False, "the record has a parameter twice, which no CA can satisfy"
    undetermined = ""
    if accounts and account_uri != accounts[0]:
        if account_uri is not None:
            return False, f"only the account {printable(accounts[0], 200)} may issue"
        undetermined = (
            f"only the account {printable(accounts[0], 200)} may issue, and ours does not exist yet"
        )
    if methods and method not in [m.strip() for m in methods[0].split(",")]:
        if method is not None:
            return False, f"only the method {printable(methods[0], 100)} is allowed"
        undetermined = (
            undetermined
            or f"only the method {printable(methods[0], 100)} is allowed, and ours is unknown"
        )
    return (None, undetermined) if undetermined else (True, "the record allows it")


def parse_issue(value: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Parse the value of issue or issuewild.

    A value that breaks the grammar allows no CA (RFC 8659 4.2).

    Returns:
        The issuer domain name in lower case, and the parameters.
    """
    head, _, rest = value.partition(";")
    issuer = head.strip(" \t")
    if issuer and not _DOMAIN.match(issuer):
        return "", ()
    parameters = []
    if rest.strip(" \t"):
        for part in rest.split(";"):
            match = _PARAMETER.match(part.strip(" \t"))
            if match is None:
                return "", ()
            parameters.append((match[1].lower(), match[2]))
    return issuer.lower(), tuple(parameters)


def _text(caa_set: CaaSet, record: CaaRecord) -> str:
    return f"{caa_set.found_at} {record}"


def addition(caa_set: CaaSet, identity: str, *, wildcard: bool = False) -> str:
    """Return the record that makes a set permit a CA, in zone file syntax.

    It belongs to the set that decides: a record at a name above it, or before a CNAME, would have
    no effect (RFC 8659 3). issuewild is added only to a set that has it, because the first one
    would forbid wildcards to all CAs that issue permits.

    Args:
        caa_set: The relevant record set.
        identity: The issuer domain name of the CA.
        wildcard: Whether the name is a wildcard.
    """
    has_wild = any(r.tag == "issuewild" for r in caa_set.records)
    tag = "issuewild" if wildcard and has_wild else "issue"
    return f'{caa_set.owner or caa_set.found_at}. IN CAA 0 {tag} "{identity}"'
