"""Enumerations and shared values of the domain. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad a finding is.

    For ``critical``, a current browser shows an error instead of the page. For ``undetermined``,
    the check could not be completed.
    """

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"
    UNDETERMINED = "undetermined"


# The order of listings: what needs attention first. An undetermined result may hide a severe fault,
# so it sorts before medium.
SEVERITY_ORDER = {
    s: i for i, s in enumerate(("critical", "high", "undetermined", "medium", "low", "info"))
}


REISSUE = "reissue"
"""The ``variant`` of a finding that only another certificate fixes."""
SAME_CERTIFICATE = "same-certificate"
"""The ``variant`` of a foreign address that serves the certificate of the provider's server."""
FOREIGN_ADDRESS = "foreign-address"
"""The finding about an address that is not the provider's. It names all such addresses."""

ZONE_DIFFERENCE = "zone-difference"
"""The finding about what only some zones see. It names all compared zones, and is staff's."""


class Actor(StrEnum):
    """Party that must act on a finding, resolved with the parties of the domain."""

    CLIENT = "client"
    PROVIDER = "provider"
    STAFF = "staff"
    NONE = "none"


class Verdict(StrEnum):
    """Result for an endpoint. ``unknown``: a check is undetermined, and no worse finding exists."""

    OK = "ok"
    ATTENTION = "attention"
    FAULT = "fault"
    UNKNOWN = "unknown"


class Party(StrEnum):
    """Party that hosts, runs the DNS of, buys or renews for a domain. ``us`` is the provider."""

    US = "us"
    CLIENT = "client"
    PANEL = "panel"
    CDN = "cdn"


class Purpose(StrEnum):
    """Use of a domain, which decides what its web pages are expected to do.

    ``api``: programs request it over HTTPS, and it needs no page.
    """

    SITE = "site"
    REDIRECT = "redirect"
    PARKED = "parked"
    MAIL = "mail"
    STAGING = "staging"
    CDN = "cdn"
    API = "api"


class RecordState(StrEnum):
    """State of a record. ``leaving``: the client moves the domain away."""

    ACTIVE = "active"
    LEAVING = "leaving"
    RETIRED = "retired"


class Role(StrEnum):
    """Role of a contact. The last two are staff of the provider."""

    OWNER = "owner"
    TECHNICAL = "technical"
    BILLING = "billing"
    ADMINISTRATOR = "administrator"
    LEVEL2 = "level2"


class ContactMethodKind(StrEnum):
    """How a contact is reached."""

    EMAIL = "email"
    PHONE = "phone"
    CHANNEL = "channel"  # the name of a channel of the configuration


class ContactMethodState(StrEnum):
    """Whether messages reach a contact method."""

    GOOD = "good"
    BAD = "bad"  # messages to it bounced


class ServerKind(StrEnum):
    """What a server is for."""

    WEB = "web"
    MAIL = "mail"
    BALANCER = "balancer"
    PANEL = "panel"
    CDN = "cdn"
    OTHER = "other"


class RunState(StrEnum):
    """How a scan run ended. Only a complete run changes findings."""

    RUNNING = "running"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    SUSPECT = "suspect"


class ZoneScopeKind(StrEnum):
    """What a zone is assigned to. ``internal``: a name, and all below it, that only it reaches."""

    CLIENT = "client"
    SERVER = "server"
    TAG = "tag"
    INTERNAL = "internal"


class ShardRole(StrEnum):
    """What the results of a shard are to its endpoints.

    ``only``: the endpoints are visited from this zone alone. Otherwise several zones are compared:
    the results of the ``first`` zone are the state of the endpoint, and those of a ``further`` one
    are a second opinion.
    """

    ONLY = "only"
    FIRST = "first"
    FURTHER = "further"


class NoticeState(StrEnum):
    """The state of a queued notice (inventory/store/outbox.py)."""

    QUEUED = "queued"
    LEASED = "leased"
    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    FAILED = "failed"
    DEAD = "dead"


class Validation(StrEnum):
    """What the CA validates: the domain, the organisation, or both to the EV Guidelines."""

    DV = "dv"
    OV = "ov"
    EV = "ev"


class ProductKind(StrEnum):
    """The names that a purchased certificate may have."""

    SINGLE = "single"
    MULTI = "multi"
    WILDCARD = "wildcard"


class PurchaseState(StrEnum):
    """State of a purchase. One whose term is over stays active."""

    ACTIVE = "active"
    CANCELLED = "cancelled"


class CaseState(StrEnum):
    """The states of an installation case (certmgr/cases/states.py has the transitions)."""

    REQUESTED = "requested"
    CSR_READY = "csr-ready"
    WAITING = "waiting-purchase"
    RECEIVED = "received"
    CHECKED = "checked"
    WINDOW = "window-agreed"
    INSTALLED = "installed"
    LIVE = "seen-live"
    CLOSED = "closed"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    REOPENED = "reopened"


class VerificationState(StrEnum):
    """The result of a verification.

    ``absent``: the certificate is served nowhere. ``unknown``: undetermined, which must not be
    shown as a missing installation.
    """

    LIVE = "live"
    PARTIAL = "partial"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class CaseKind(StrEnum):
    """Why a case was opened. ``incident``: the certificate must be replaced by a time."""

    NEW = "new"
    RENEWAL = "renewal"
    REISSUE = "reissue"
    INCIDENT = "incident"


class WindowState(StrEnum):
    """The installation window of a case. A cancelled one is still removed from calendars."""

    NONE = "none"
    AGREED = "agreed"
    CANCELLED = "cancelled"


class LineageState(StrEnum):
    """State of a lineage. A paused one is not renewed."""

    ACTIVE = "active"
    PAUSED = "paused"
    RETIRED = "retired"


class LineageNameState(StrEnum):
    """State of a name of a lineage. A quarantined one is left out of certificates."""

    ACTIVE = "active"
    QUARANTINED = "quarantined"


class AccountState(StrEnum):
    """State of an ACME account."""

    # Committed before the CA is asked, so that a death in between leaves a row to continue.
    PENDING = "pending"
    ACTIVE = "active"
    LOST = "lost"  # the CA does not know it any more
    RETIRED = "retired"


class DeploymentState(StrEnum):
    """State of a certificate at one deployment target."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"  # by a newer certificate


# The same four columns in client, server and domain, from which the parties are resolved.
PARTY_FIELDS = ("hosts", "dns", "buys", "renews")


@dataclass(frozen=True, slots=True)
class Parties:
    """Responsible parties of a domain, with inheritance resolved. None means not recorded."""

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
    """A fault or a remark about an endpoint.

    Attributes:
        code: Code of the finding (certmgr/checks/codes.py).
        severity: One of :class:`Severity`.
        addresses: Addresses on which it was observed; empty if it concerns the name.
        evidence: JSON values that prove it.
        actor: Party that must act, one of :class:`Actor`.
        outcome: you-act, we-act, escalated or None.
    """

    code: str
    severity: str
    addresses: tuple[str, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)
    actor: str = "staff"
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A finding that was accepted or assigned until a date.

    An accepted finding does not count for verdicts and exit codes. A scope field that is None
    covers all clients, domains or endpoints.

    Attributes:
        informs: Clients who were not notified of the finding yet are, because it was assigned.
        batch: The id of the first one that the same command recorded, if the command selected
            faults (``--server``, ``--cause``) and not a place.
    """

    id: int
    code: str
    client_id: int | None
    domain_id: int | None
    endpoint_id: int | None
    until: datetime
    reason: str
    by: str
    informs: bool = True
    batch: int | None = None

    def covers(
        self,
        code: str,
        client_id: int | None,
        domain_id: int | None,
        endpoint_id: int | None,
        now: datetime,
    ) -> bool:
        """Return whether the acceptance applies to a finding of an endpoint at a time."""
        return (
            self.code == code
            # The end itself is excluded: from then on the finding counts again.
            and now < self.until
            and self.client_id in (None, client_id)
            and self.domain_id in (None, domain_id)
            and self.endpoint_id in (None, endpoint_id)
        )

    @property
    def scope_width(self) -> int:
        """How wide the scope is: 0 for an endpoint, 3 for all clients."""
        fields = (self.endpoint_id, self.domain_id, self.client_id)
        return next((i for i, field_ in enumerate(fields) if field_ is not None), len(fields))


def deciding(assignments: Iterable[Acceptance], now: datetime) -> Acceptance | None:
    """Return the assignment that counts for one finding, so that all output names one person.

    One in force counts before one whose date has passed. Among them the narrowest scope counts, and
    then the newest: who assigns one site knows more about it than who assigned all of them.

    Args:
        assignments: Those that concern the finding.
        now: The time of the answer.
    """
    return min(assignments, key=lambda a: (a.until <= now, a.scope_width, -a.id), default=None)


def verdict_of(severities: "set[str] | frozenset[str]") -> Verdict:
    """Return the verdict on an endpoint.

    Args:
        severities: Severities of its findings that are not accepted. ``low`` and ``info`` are
            remarks, with which the endpoint is ok.
    """
    # A known fault is worse than an undetermined check.
    if severities & {"critical", "high"}:
        return Verdict.FAULT
    # An unfinished check may hide a fault, so such an endpoint is never shown as good.
    if "undetermined" in severities:
        return Verdict.UNKNOWN
    if "medium" in severities:
        return Verdict.ATTENTION
    return Verdict.OK
