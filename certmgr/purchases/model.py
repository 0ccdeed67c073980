"""Values for a purchase and its certificates. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from inventory.store.purchases import label
from inventory.vocabulary import Party


@dataclass(frozen=True, slots=True)
class PurchasedCertificate:
    """A certificate that was issued under a purchase.

    Attributes:
        sha256: Fingerprint of the certificate, in hexadecimal.
        serial: Serial number.
        not_before: First second of the validity.
        not_after: Last second of the validity.
        names: DNS names of the certificate.
        recorded: Whether the certificate was linked to the purchase, by a case or by an
            administrator. Otherwise it was recognised by its names, dates and issuer.
        live: Whether an endpoint of the client serves it now.
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
    """Days that purchase, validation and installation take."""

    purchase: int = 7
    validation: int = 7
    installation: int = 7

    @property
    def total(self) -> int:
        """All days, from the decision to buy until the certificate is installed."""
        return self.purchase + self.validation + self.installation

    @property
    def buy(self) -> timedelta:
        """:attr:`total` as a duration."""
        return timedelta(days=self.total)

    @property
    def reissue(self) -> timedelta:
        """Time that a reissue takes."""
        # The term is paid, so a reissue needs validation and installation, but no purchase.
        return timedelta(days=self.validation + self.installation)


@dataclass(frozen=True, slots=True)
class Purchase:
    """A term of one or more years that was bought from a vendor.

    Attributes:
        starts: First second of the term.
        ends: Last second of the term.
        validation: dv, ov or ev.
        bought_by: The client or the provider.
        dcv: Time of the last domain control validation, if it is known.
        organisation: Time of the last validation of the organisation, if it is known.
        renewed: Whether a later purchase follows this one.
        state: active or cancelled.
        issued: Certificates of the purchase.
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
    bought_by: Party = Party.CLIENT
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
        """The vendor with its order number, or with the id if there is no number."""
        return label(self.vendor, self.number, self.id)

    @property
    def current(self) -> PurchasedCertificate | None:
        """The certificate that expires last."""
        return max(self.issued, key=lambda i: i.not_after, default=None)
