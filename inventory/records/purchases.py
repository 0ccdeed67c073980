"""Purchases, and certificates."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import Party, ProductKind, PurchaseState, Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseRecord(Record):
    """A purchase with its client's number."""

    id: int
    client_id: int
    vendor: str
    number: str | None
    validation: Validation
    kind: ProductKind
    years: int
    starts_at: Timestamp
    ends_at: Timestamp
    # Amounts are decimal texts, because binary floating point cannot represent most prices.
    price: str | None
    fee: str | None
    currency: str | None
    warranty: str | None
    # client or us: it decides who has to act when the term ends.
    bought_by: Party
    contact_id: int | None
    documents: tuple[str, ...]
    auto_renew: int
    # The last domain validation and organisation validation. Both expire before the term ends.
    dcv_at: Timestamp | None
    organisation_at: Timestamp | None
    # The purchase that follows; this one is not renewed again.
    successor_id: int | None
    reason: str | None
    note: str | None
    state: PurchaseState
    created_at: Timestamp
    retired_at: Timestamp | None
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchasedLeaf(Record):
    """A certificate issued under a purchase."""

    order_id: int
    sha256: str
    serial: str
    not_before: Timestamp
    not_after: Timestamp
    names: tuple[str, ...]
    # When it was verified live. A certificate that never was has replaced nothing.
    live_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPurchase(PurchaseRecord):
    """A purchase in a listing, with its names and what was issued under it."""

    client_name: str
    names: tuple[str, ...]
    issued: tuple[PurchasedLeaf, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRecord(Record):
    """A certificate that was served or received."""

    sha256: str
    der: bytes
    serial: str
    subject: str
    issuer: str
    # None if the dates cannot be parsed.
    not_before: Timestamp | None
    not_after: Timestamp | None
    names: tuple[str, ...]
    key: str
    # 1 for intermediates and roots, which may serve as issuers of other certificates.
    is_ca: int
    first_seen: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCertificate(Record):
    """A leaf that is served now, once per client."""

    sha256: str
    serial: str
    issuer: str
    not_before: Timestamp
    not_after: Timestamp
    names: tuple[str, ...]
    client_id: int
    client: str
