"""What a notice can be about: values that the caller fills in from the inventory. Pure.

A :class:`Topic` has what every stage of the pipeline needs. What only one kind of event has stands
in its facts, one class per kind: :class:`CoverFacts`, :class:`FaultFacts`, :class:`DeadlineFacts`,
:class:`CaseFacts` and :class:`PurchaseFacts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import assert_never

from inventory.targets import Target
from inventory.vocabulary import Finding
from notifiers.calendar import CalendarWindow


class TopicKind(StrEnum):
    """The kinds of topics.

    Attributes:
        COVER: A name that loses cover: after its end some address serves no valid certificate.
        FAULT: A finding of a scan.
        DEADLINE: A dated rule of the provider that a domain does not, or will not, meet.
        CASE: A step of an installation that client and provider coordinate.
        ORDER: A purchased term that ends, or a validation under it.
        BROADCAST: An announcement to many clients.
    """

    COVER = "cover"
    FAULT = "fault"
    DEADLINE = "deadline"
    CASE = "case"
    ORDER = "order"
    BROADCAST = "broadcast"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount as it was entered, or None if there is none."""

    amount: str | None
    currency: str | None


# A value for a placeholder of a text. A list is a list of phrases to translate, and a tuple is a
# phrase to translate, with an optional date for its placeholder.
TextValue = str | datetime | Money | Sequence[str] | tuple[str] | tuple[str, datetime | None] | None


@dataclass(frozen=True, slots=True)
class NamedCertificate:
    """The certificate that a message names.

    Attributes:
        serial: The serial number, as the message shows it.
        issuer: The organisation of the issuer. Empty if the certificate names none.
        not_after: The end of the certificate.
    """

    serial: str
    issuer: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class ScheduledEnd:
    """A date ahead that thresholds are counted to.

    Attributes:
        at: The date.
        life: The time from the start to ``at``: the lifetime of a certificate, for example.
        lead_days: How long purchase and installation take, in days. 0 if nothing is bought.
        renewal_lead: How long before ``at`` automation renews. None if people renew.
    """

    at: datetime
    # More than the longest lifetime that CAs were allowed since 2020 (398 days), so that no
    # threshold is left out.
    life: timedelta = timedelta(days=400)
    lead_days: int = 0
    renewal_lead: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverFacts:
    """A name whose certificate ends.

    Attributes:
        endpoint_id: The endpoint that serves the certificate.
        server_id: The server of the endpoint, if it is known.
        finding: The certificate that ends first. None if the topic is over.
        certificate: What the message names. None if the topic is over.
        partial: Some addresses already serve the successor.
        we_install: The provider installs, and not the client.
        counted: The status counts it as a finding. It does not while the end is further ahead.
    """

    endpoint_id: int | None
    server_id: int | None
    finding: Finding | None = None
    certificate: NamedCertificate | None = None
    counted: bool = True
    # Then the rest of the installation is work of staff, and the client is left alone.
    partial: bool = False
    we_install: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultFacts:
    """A finding of a scan.

    Attributes:
        endpoint_id: The endpoint that has the fault.
        server_id: The server of the endpoint, if it is known.
        finding: The finding, with the evidence that the client may see.
        certificate: The certificate that is served. None if it may belong to another client.
        parent: The key of the topic that this one is resolved with. Empty if there is none.
        run: The run that opened the finding. 0 if that is not known.
        confirmed: More than one run has seen it.
        we_install: The provider installs, and not the client.
    """

    endpoint_id: int | None
    server_id: int | None
    finding: Finding | None
    certificate: NamedCertificate | None = None
    parent: str = ""
    run: int = 0
    # Kinds that no scan finds are certain from the start.
    confirmed: bool = True
    we_install: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineFacts:
    """A dated rule of the provider.

    Attributes:
        title: The provider's name of the rule.
        text: The provider's explanation.
        day: The day from which the rule holds, which is the same for every reader.
        finding: The fault that violates the rule, if a scan found one.
        we_install: The provider installs, and not the client.
    """

    title: str
    text: str
    day: date
    finding: Finding | None = None
    we_install: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """A step of an installation that client and provider coordinate.

    Attributes:
        reference: The reference of the case, which the client knows.
        values: The values for the placeholders of the texts, by name.
        upload_problems: Code and values of each problem of the last upload.
        paste: Text for the reader to copy, such as a CSR.
        window: An installation window that the message carries as a calendar entry.
        contact_id: The contact of the client who is notified first. None for the usual order.
        since_days: How many days after the start of the step the last reminder was due. None for a
            case that has ended.
    """

    reference: str
    values: Mapping[str, TextValue]
    upload_problems: Sequence[tuple[str, Mapping[str, str]]] = ()
    paste: str = ""
    window: CalendarWindow | None = None
    contact_id: int | None = None
    since_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseFacts:
    """A purchased term that ends, or a validation under it.

    Attributes:
        values: The values for the placeholders of the texts, by name.
    """

    values: Mapping[str, TextValue]


TopicFacts = CoverFacts | FaultFacts | DeadlineFacts | CaseFacts | PurchaseFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One thing that a client may have to know.

    Attributes:
        key: Identifies the topic permanently.
        revision: The certificate, the opened finding or the date that is current. A new revision
            starts the thresholds again.
        client_id: The client that the topic concerns. No other client learns of it.
        client: The number of the client.
        domain_id: The domain. 0 if there is none.
        target: What the message is about, as it is shown.
        severity: The severity of the finding, or the equivalent of the other kinds.
        actor: Who has to act: client, provider, staff or none.
        code: The finding code, or the key of the texts of a case or a purchase.
        opened: Since when the topic is known.
        facts: What only this kind of topic has.
        schedule: The end that thresholds are counted to. None if no date lies ahead.
        act_by: The time by which the client has to act.
        visible: Visitors notice it.
        assigned: Who fixes it, and until when.
        quiet: The assignment is no reason to notify clients who do not know of it yet.
        planned: By whom and until when it is renewed as planned, for staff. Empty if it is not.
        suppress_reason: Why clients are never notified of it. Empty if they may be.
        cause: What one action would fix. Staff see topics folded by it.
        tags: The tags of client and domain, which may select other thresholds.
    """

    key: str
    revision: str
    client_id: int
    client: str
    domain_id: int
    target: Target
    severity: str
    # The text of the message follows from it: "you need to act" is for the client alone.
    actor: str
    code: str
    opened: datetime
    facts: TopicFacts
    schedule: ScheduledEnd | None = None
    act_by: datetime | None = None
    visible: bool = False
    assigned: tuple[str, datetime] | None = None
    quiet: bool = False
    planned: str = ""
    # An accepted or retired topic is still passed on, so that its decision is recorded.
    suppress_reason: str = ""
    cause: str = ""
    tags: frozenset[str] = frozenset()

    @property
    def mark(self) -> tuple[str, str]:
        """Key and revision. A resolved topic and its successor can share one key."""
        # The revision is part of it, because a replaced certificate may lose cover again under one
        # key.
        return self.key, self.revision

    @property
    def kind(self) -> TopicKind:
        """The kind, which follows from the facts."""
        match self.facts:
            case CoverFacts():
                return TopicKind.COVER
            case FaultFacts():
                return TopicKind.FAULT
            case DeadlineFacts():
                return TopicKind.DEADLINE
            case CaseFacts():
                return TopicKind.CASE
            case PurchaseFacts():
                # Stored data and JSON keep the old word for a purchase.
                return TopicKind.ORDER
            case _:
                assert_never(self.facts)

    @property
    def end(self) -> datetime | None:
        """The date that thresholds are counted to. None if no date lies ahead."""
        return None if self.schedule is None else self.schedule.at

    def is_assigned(self, now: datetime) -> bool:
        """Return whether a person fixes it by a date that has not passed."""
        return self.assigned is not None and self.assigned[1] > now

    @property
    def finding(self) -> Finding | None:
        """The finding that the message describes. Cases and purchases have none."""
        return None if isinstance(self.facts, CaseFacts | PurchaseFacts) else self.facts.finding

    @property
    def endpoint_id(self) -> int | None:
        """The endpoint that can be checked again. None if the topic has no endpoint."""
        return self.facts.endpoint_id if isinstance(self.facts, CoverFacts | FaultFacts) else None

    @property
    def server_id(self) -> int | None:
        """The server of the endpoint, if it is known."""
        return self.facts.server_id if isinstance(self.facts, CoverFacts | FaultFacts) else None

    @property
    def parent(self) -> str:
        """The key of the topic that this one is resolved with. Empty if there is none."""
        return self.facts.parent if isinstance(self.facts, FaultFacts) else ""

    @property
    def partial(self) -> bool:
        """Whether some addresses already serve the successor of a certificate."""
        return isinstance(self.facts, CoverFacts) and self.facts.partial

    @property
    def counted(self) -> bool:
        """Whether the status counts it as a finding, too."""
        return not isinstance(self.facts, CoverFacts) or self.facts.counted

    @property
    def confirmed(self) -> bool:
        """Whether it is certain. A fault is only after a second run has seen it."""
        return not isinstance(self.facts, FaultFacts) or self.facts.confirmed


class RecheckState(StrEnum):
    """What a recheck found.

    Attributes:
        SAME: The topic is unchanged.
        GONE: Every address has the replacement or the fix.
        PARTIAL: Some addresses have it.
        UNKNOWN: The recheck failed.
    """

    SAME = "same"
    GONE = "gone"
    PARTIAL = "partial"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Recheck:
    """The result of checking the endpoint of a topic again."""

    state: RecheckState
    reason: str
