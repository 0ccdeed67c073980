"""The words of the program as values. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad a finding is.

    ``critical``: a current browser shows an error instead of the page. ``undetermined``: could not
    tell.
    """

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"
    UNDETERMINED = "undetermined"


SEVERITY_ORDER = {
    s: i for i, s in enumerate(("critical", "high", "undetermined", "medium", "low", "info"))
}


class Actor(StrEnum):
    """Who must act on a finding, after the inventory was asked."""

    CLIENT = "client"
    PROVIDER = "provider"
    STAFF = "staff"
    NONE = "none"


class Verdict(StrEnum):
    OK = "ok"
    ATTENTION = "attention"
    FAULT = "fault"
    UNKNOWN = "unknown"


class Party(StrEnum):
    """Who hosts, runs the DNS of, buys or renews for a domain."""

    US = "us"
    CLIENT = "client"
    PANEL = "panel"
    CDN = "cdn"


class Purpose(StrEnum):
    SITE = "site"
    REDIRECT = "redirect"
    PARKED = "parked"
    MAIL = "mail"
    STAGING = "staging"
    CDN = "cdn"


class RecordState(StrEnum):
    ACTIVE = "active"
    LEAVING = "leaving"
    RETIRED = "retired"


class Role(StrEnum):
    OWNER = "owner"
    TECHNICAL = "technical"
    BILLING = "billing"
    ADMINISTRATOR = "administrator"
    LEVEL2 = "level2"


PARTY_FIELDS = ("hosts", "dns", "buys", "renews")


@dataclass(frozen=True, slots=True)
class Parties:
    """Who does what for one domain, inheritance already resolved. None: nobody said."""

    hosts: str | None = None
    dns: str | None = None
    buys: str | None = None
    renews: str | None = None
    on_our_server: bool = False

    def __reduce__(
        self,
    ) -> "tuple[type[Parties], tuple[str | None, str | None, str | None, str | None, bool]]":
        return Parties, (self.hosts, self.dns, self.buys, self.renews, self.on_our_server)


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault or remark about one endpoint.

    ``addresses``: where it was seen; empty when it is about the name.

    ``evidence``: JSON values that show it. ``roles``: whose matter it is (host, dns, holder,
    client, staff, none), which the inventory resolves to ``actor``. ``outcome``: you-act, we-act,
    escalated or None.
    """

    code: str
    severity: str
    addresses: tuple[str, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)
    actor: str = "staff"
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A known fault that was accepted: out of verdicts and exit codes until a date.

    None in a scope field: any.
    """

    id: int
    code: str
    client_id: int | None
    domain_id: int | None
    endpoint_id: int | None
    until: datetime
    reason: str
    by: str

    def covers(
        self,
        code: str,
        client_id: int | None,
        domain_id: int | None,
        endpoint_id: int | None,
        now: datetime,
    ) -> bool:
        return (
            self.code == code
            and now < self.until
            and self.client_id in (None, client_id)
            and self.domain_id in (None, domain_id)
            and self.endpoint_id in (None, endpoint_id)
        )


def verdict_of(severities: "set[str] | frozenset[str]") -> Verdict:
    """The verdict on an endpoint from the severities of its findings that are not accepted (info is
    ignored).
    """
    if severities & {"critical", "high"}:
        return Verdict.FAULT
    if "undetermined" in severities:
        return Verdict.UNKNOWN
    if severities & {"medium", "low"}:
        return Verdict.ATTENTION
    return Verdict.OK
