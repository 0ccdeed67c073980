"""CAA: which CA may issue for a name (RFC 8659), for which account and by which method (RFC 8657).

Pure, but for the question that is handed in.
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
    from certmgr.net.dns import DnsAnswer

# Tags that a CA of the Web PKI understands, so that their critical flag keeps nobody (RFC 8659 4.1;
# RFC 9495; BR 3.2.2.4.13, 3.2.2.4.17).
KNOWN = frozenset(
    {"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"}
)
CRITICAL = 128
# Many took bit 7 of the RFC's numbering for the value 1. Let's Encrypt's software honours that too;
# others need not.
MISTAKEN = 1

_DOMAIN = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\Z"
)
_PARAMETER = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)[ \t]*=[ \t]*([\x21-\x3a\x3c-\x7e]*)\Z"
)


@dataclass(frozen=True, slots=True)
class CaaSet:
    """The relevant set of a name.

    ``status``: found, none (no name up to the root has any), unknown (a question failed,
    ``reason``).

    ``found_at``: the name that has it, after the climb.
    """

    found_at: str = ""
    records: tuple[CaaRecord, ...] = ()
    status: str = "none"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Permission:
    """``allowed`` None: it could not be told.

    ``record``: the text of the record that decided; empty where none did.
    """

    allowed: bool | None
    reason: str
    record: str = ""


def find(ask: Callable[[str, str], DnsAnswer], name: str) -> CaaSet:
    """The relevant record set (RFC 8659 3): that of the name, else of the nearest name above it,
    without the root.

    ``name``: A-labels, also a wildcard. ``ask``: follows CNAMEs, as a resolver does. An address has
    no CAA.
    """
    if as_ip(name) is not None:
        return CaaSet(reason="an address has no CAA")
    labels = name.rstrip(".").lower().removeprefix("*.").split(".")
    for start in range(len(labels)):
        above = ".".join(labels[start:])
        answer = ask(above, "CAA")
        if not answer.told:
            return CaaSet(
                above,
                (),
                "unknown",
                f"the CAA records of {above} could not be asked: {answer.reason}",
            )
        records = tuple(r for r in answer.records if isinstance(r, CaaRecord))
        if records:
            return CaaSet(above, records, "found")
    return CaaSet()


def permits(
    caa_set: CaaSet,
    identities: Sequence[str],
    *,
    wildcard: bool = False,
    account_uri: str | None = None,
    method: str | None = None,
) -> Permission:
    """Whether one of ``identities`` (the CA's issuer domain names) may issue.

    ``method``: http-01, dns-01, tls-alpn-01.

    ``account_uri`` or ``method`` None: not known, so a record that insists on one gives no verdict.
    """
    if caa_set.status == "unknown":
        return Permission(None, caa_set.reason)
    if caa_set.status == "none":
        return Permission(True, caa_set.reason or "no name up to the root has a CAA record")
    strange = [r for r in caa_set.records if r.tag not in KNOWN]
    if (one := next((r for r in strange if r.flags & CRITICAL), None)) is not None:
        return Permission(
            False,
            f"a critical record at {caa_set.found_at} that no CA understands",
            _text(caa_set, one),
        )
    relevant = _relevant(caa_set, wildcard)
    if not relevant:
        decided = Permission(
            True, f"the CAA records of {caa_set.found_at} do not restrict who issues"
        )
    else:
        decided = _decide(
            caa_set, relevant, {i.rstrip(".").lower() for i in identities}, account_uri, method
        )
    if (
        decided.allowed
        and (one := next((r for r in strange if r.flags & MISTAKEN), None)) is not None
    ):
        return Permission(
            None,
            "a record of an unknown kind whose flag 1 some CAs take for critical",
            _text(caa_set, one),
        )
    return decided


def _relevant(caa_set: CaaSet, wildcard: bool) -> list[CaaRecord]:
    """issuewild takes the place of issue for a wildcard, and says nothing about other names (RFC
    8659 4.3).
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
    """Any record that allows is enough."""
    refusals: list[Permission] = []
    for record in relevant:
        issuer, parameters = parse_issue(record.value)
        if issuer not in identities:
            continue
        said = _within(parameters, account_uri, method)
        one = Permission(said[0], said[1], _text(caa_set, record))
        if one.allowed:
            return one
        refusals.append(one)
    unsure = next((r for r in refusals if r.allowed is None), None)
    if unsure is not None or refusals:
        return unsure or refusals[0]
    others = ", ".join(sorted({parse_issue(r.value)[0] for r in relevant} - {""})[:5])
    reason = (
        f"{caa_set.found_at} allows only {printable(others, 200)}"
        if others
        else f"{caa_set.found_at} allows no CA to issue"
    )
    return Permission(False, reason, _text(caa_set, relevant[0]))


def _within(
    parameters: Sequence[tuple[str, str]], account_uri: str | None, method: str | None
) -> tuple[bool | None, str]:
    """RFC 8657 3 and 4: a parameter that stands twice can be satisfied by nobody."""
    accounts = [v for t, v in parameters if t == "accounturi"]
    methods = [v for t, v in parameters if t == "validationmethods"]
    if len(accounts) > 1 or len(methods) > 1:
        return False, "the record states a parameter twice, which nobody can satisfy"
    unsure = ""
    if accounts and account_uri != accounts[0]:
        if account_uri is not None:
            return False, f"only the account {printable(accounts[0], 200)} may issue"
        unsure = (
            f"only the account {printable(accounts[0], 200)} may issue, and ours is not known yet"
        )
    if methods and method not in [m.strip() for m in methods[0].split(",")]:
        if method is not None:
            return False, f"only the method {printable(methods[0], 100)} is allowed"
        unsure = (
            unsure
            or f"only the method {printable(methods[0], 100)} is allowed, and ours is not known"
        )
    return (None, unsure) if unsure else (True, "the record allows it")


def parse_issue(value: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """An issue or issuewild value -> (issuer domain name in lower case, parameters).

    A value that breaks the grammar names nobody (RFC 8659 4.2).
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
