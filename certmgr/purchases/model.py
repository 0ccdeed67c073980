"""An order and its certificates as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class PurchasedCertificate:
    """A certificate of an order.

    ``recorded``: linked to it by us or by hand; else recognised by its names, its dates and its
    vendor.
    """

    sha256: str
    serial: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...] = ()
    recorded: bool = True
    live: bool = False


@dataclass(frozen=True, slots=True)
class LeadTimes:
    """Days that buying, validating and installing take."""

    purchase: int = 7
    validation: int = 7
    installation: int = 7

    @property
    def total(self) -> int:
        return self.purchase + self.validation + self.installation

    @property
    def buy(self) -> timedelta:
        return timedelta(days=self.total)

    @property
    def reissue(self) -> timedelta:
        """A reissue is not bought again."""
        return timedelta(days=self.validation + self.installation)


@dataclass(frozen=True, slots=True)
class Purchase:
    """One purchase.

    ``starts`` and ``ends`` are its first and last second. ``dcv`` and ``organisation``: when
    control of the domains, and the organisation, were last validated. ``validation``: dv, ov, ev.
    ``bought_by``: client, us.
    """

    id: int
    client_id: int
    client: str
    vendor: str
    number: str
    validation: str
    kind: str
    years: int
    starts: datetime
    ends: datetime
    names: tuple[str, ...]
    bought_by: str = "client"
    price: Decimal | None = None
    fee: Decimal | None = None
    currency: str = ""
    auto_renew: bool = False
    dcv: datetime | None = None
    organisation: datetime | None = None
    renewed: bool = False
    state: str = "active"
    issued: tuple[PurchasedCertificate, ...] = field(default=())

    @property
    def label(self) -> str:
        return (
            f"{self.vendor} {self.number}".strip() if self.number else f"{self.vendor} #{self.id}"
        )

    @property
    def current(self) -> PurchasedCertificate | None:
        """The certificate of the order that ends last."""
        return max(self.issued, key=lambda i: i.not_after, default=None)
