"""All facts that the report of one client depends on, as values.

The caller has limited them to that client (certmgr/report/load.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from certmgr.compliance.assessment import ComplianceRow, DomainFacts
from certmgr.compliance.milestones import Deadline
from certmgr.inspection.status import EndpointStatus
from certmgr.inspection.trust_ends import EndpointTrust
from certmgr.renewers.renewer import RenewalFacts
from inventory.vocabulary import Acceptance
from notifiers.pipeline.topic import Topic
from notifiers.wording.catalogue import Language


@dataclass(frozen=True, slots=True)
class DatedItem:
    """A date of a purchase or a case.

    Attributes:
        at: The date.
        kind: order or window.
        template: Text of the catalogue.
        values: Values for the placeholders of the text.
        names: Affected names.
    """

    at: datetime
    kind: str
    # Not a finished text: the language of the reader is applied when the report is built.
    template: str
    values: Mapping[str, str]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportInput:
    """All facts that the report of one client depends on.

    Attributes:
        number: Customer number.
        name: Name of the client.
        provider: Name of the provider.
        contact: Account manager of the client.
        language: Language of the reader.
        as_of: Time of the report.
        domains: Facts about the client's domains.
        statuses: Status of each endpoint.
        rows: Compliance of each domain with each deadline.
        deadlines: Dated rules and the provider's deadlines.
        assigned: Findings that are assigned to a person, each until a date.
        measured: Time of the last probe.
        zone: Time zone of the provider. Its deadlines end with the day there.
        case_topics: Actions of purchases and cases, as the notices name them.
        case_names: Name -> reference of its open case.
        dates: Dates of purchases and cases.
        trust: Until when browsers trust the certificate of an endpoint, by its id.
        trust_rules: The version of the trust rules.
        renewers: Who renews which name. None in a report of the past, since it has no history.
        owners: The owners of names that certificates contain, by name.
        client_id: The id of the client.
    """

    number: str
    name: str
    provider: str
    contact: str
    language: Language
    as_of: datetime
    domains: Sequence[DomainFacts]
    statuses: Sequence[EndpointStatus]
    rows: Sequence[ComplianceRow]
    deadlines: Sequence[Deadline]
    assigned: Sequence[Acceptance]
    measured: datetime | None
    # Apart from the zone of the language, which is that of the reader.
    zone: tzinfo = UTC
    # Purchases and cases have no history, so these are empty in a report of the past.
    case_topics: Sequence[Topic] = ()
    # A finding that the case handles is not listed again as a separate action.
    case_names: Mapping[str, str] = field(default_factory=dict)
    dates: Sequence[DatedItem] = ()
    # Empty in a report of the past, because the rules of that day are not kept.
    trust: Mapping[int, EndpointTrust] = field(default_factory=dict)
    trust_rules: str = ""
    renewers: RenewalFacts | None = None
    # Names of other clients in a shared certificate are removed by these owners.
    owners: Mapping[str, int] = field(default_factory=dict)
    client_id: int | None = None
