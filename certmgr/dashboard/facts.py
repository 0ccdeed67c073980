"""All facts that the dashboard depends on, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from certmgr.compliance.assessment import ComplianceRow
from certmgr.compliance.milestones import Deadline
from certmgr.inspection.status import EndpointStatus
from certmgr.inspection.trust_ends import EndpointTrust
from certmgr.renewers.renewer import RenewalFacts
from inventory.records import CaseRecord, EndedRun
from inventory.vocabulary import Acceptance
from notifiers.wording.catalogue import Language


@dataclass(frozen=True, slots=True)
class RunFaults:
    """The faults that were open when a complete run ended.

    Attributes:
        critical: Endpoints with a finding of severity critical.
        high: Endpoints whose worst finding is of severity high.
        checked: Endpoints that the run checked.
        undetermined: Endpoints that stayed undetermined.
    """

    finished: datetime
    # Each endpoint counts once, with its worst finding, so that the two numbers can be added.
    critical: int
    high: int
    checked: int
    undetermined: int


@dataclass(frozen=True, slots=True)
class DashboardInput:
    """All facts of one dashboard.

    Attributes:
        language: The language of the reader.
        as_of: The time of the dashboard.
        provider: The name of the provider.
        statuses: The status of each endpoint of all clients.
        rows: Compliance of each domain with each deadline.
        deadlines: Dated rules and the provider's deadlines.
        history: The last complete runs, the newest first.
        client_names: Number of a client -> its name.
        last_run: The last scan that ended, complete or not; None if there was none.
        zone: The time zone of the provider.
        trust: Until when browsers trust the certificate of an endpoint, by its id.
        renewers: Who renews which name. None for the past, which has no history of it.
        starts: notBefore of the served certificates by SHA-256. Empty for the past.
        cases: The open cases. None for the past, which has no history of them.
        assigned: The assignments of findings that were in force.
    """

    language: Language
    as_of: datetime
    provider: str
    statuses: Sequence[EndpointStatus]
    rows: Sequence[ComplianceRow]
    deadlines: Sequence[Deadline]
    history: Sequence[RunFaults]
    client_names: Mapping[str, str]
    last_run: EndedRun | None = None
    # A deadline of the provider ends with its day in this zone.
    zone: tzinfo = UTC
    # Empty for the past, because the rules of that day are not kept.
    trust: Mapping[int, EndpointTrust] = field(default_factory=dict)
    # None and not empty: "not known" must not be shown as "no party renews it".
    renewers: RenewalFacts | None = None
    starts: Mapping[str, int] = field(default_factory=dict)
    cases: Sequence[CaseRecord] | None = None
    assigned: Sequence[Acceptance] = ()
