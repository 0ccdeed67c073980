"""The tables, each a class with typed columns; a module per subject."""

from inventory.models.acme import (
    AcmeAccount,
    AcmeBackoff,
    AcmeEvent,
    AcmeOrder,
    Deployment,
    LineageName,
    StoredLineage,
)
from inventory.models.audit import AuditEntry
from inventory.models.base import Base
from inventory.models.cases import Case, CaseEvent, CaseName, Incident, IncidentItem, Issuance
from inventory.models.clients import Client, Contact, ContactMethod
from inventory.models.deadlines import DeadlineScope, StoredDeadline
from inventory.models.domains import Domain, Endpoint, Tag
from inventory.models.notices import (
    DroppedItem,
    InboundMessage,
    Job,
    MassAllowance,
    Notice,
    Release,
    SentItem,
    Snooze,
    StoredAnnouncement,
    StoredDecision,
    Ticket,
)
from inventory.models.purchases import PurchaseName, StoredPurchase
from inventory.models.revocation import RevocationCheck, StoredCrl
from inventory.models.scans import (
    PageObservation,
    ProbeState,
    Proposal,
    Run,
    ScanShard,
    ServedChain,
    StoredAcceptance,
    StoredCertificate,
    StoredFinding,
)
from inventory.models.servers import Server
from inventory.models.workers import WorkerCall, WorkerCallFile
from inventory.models.zones import StoredZone, ZoneScope, ZoneView, ZoneWorker

__all__ = [
    "AcmeAccount",
    "AcmeBackoff",
    "AcmeEvent",
    "AcmeOrder",
    "AuditEntry",
    "Base",
    "Case",
    "CaseEvent",
    "CaseName",
    "Client",
    "Contact",
    "ContactMethod",
    "DeadlineScope",
    "Deployment",
    "Domain",
    "DroppedItem",
    "Endpoint",
    "InboundMessage",
    "Incident",
    "IncidentItem",
    "Issuance",
    "Job",
    "LineageName",
    "MassAllowance",
    "Notice",
    "PageObservation",
    "ProbeState",
    "Proposal",
    "PurchaseName",
    "Release",
    "RevocationCheck",
    "Run",
    "ScanShard",
    "SentItem",
    "ServedChain",
    "Server",
    "Snooze",
    "StoredAcceptance",
    "StoredAnnouncement",
    "StoredCertificate",
    "StoredCrl",
    "StoredDeadline",
    "StoredDecision",
    "StoredFinding",
    "StoredLineage",
    "StoredPurchase",
    "StoredZone",
    "Tag",
    "Ticket",
    "WorkerCall",
    "WorkerCallFile",
    "ZoneScope",
    "ZoneView",
    "ZoneWorker",
]
