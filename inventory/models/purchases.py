"""Certificates bought from a vendor for a term."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, JsonTexts
from inventory.vocabulary import Party, ProductKind, PurchaseState, Validation


class StoredPurchase(Base):
    """A certificate bought for a term.

    Amounts are decimal texts in ``currency``; ``starts_at`` and ``ends_at`` are its first and
    last second.
    """

    __tablename__ = "order"
    __table_args__ = (Index("ix_order_number", "number"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    client_id: Mapped[int] = mapped_column(Id, ForeignKey("client.id"), index=True)
    vendor: Mapped[str]
    # the vendor's
    number: Mapped[str | None]
    # dv, ov, ev
    validation: Mapped[Validation] = mapped_column(EnumText(Validation))
    # single, multi, wildcard
    kind: Mapped[ProductKind] = mapped_column(EnumText(ProductKind))
    years: Mapped[int] = mapped_column(Integer)
    starts_at: Mapped[Timestamp]
    ends_at: Mapped[Timestamp]
    price: Mapped[str | None]
    # of one installation
    fee: Mapped[str | None]
    currency: Mapped[str | None]
    warranty: Mapped[str | None]
    # the client, or us
    bought_by: Mapped[Party] = mapped_column(EnumText(Party))
    contact_id: Mapped[int | None] = mapped_column(Id, ForeignKey("contact.id"), index=True)
    # paths of files
    documents: Mapped[tuple[str, ...]] = mapped_column(JsonTexts, server_default="[]")
    # 1: the vendor renews it automatically
    auto_renew: Mapped[int] = mapped_column(Integer, server_default="0")
    # when control of the domains was last validated
    dcv_at: Mapped[Timestamp | None]
    # when the organisation was
    organisation_at: Mapped[Timestamp | None]
    successor_id: Mapped[int | None] = mapped_column(Id, ForeignKey("order.id"), index=True)
    # of a cancellation
    reason: Mapped[str | None]
    note: Mapped[str | None]
    # active, cancelled
    state: Mapped[PurchaseState] = mapped_column(EnumText(PurchaseState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]


class PurchaseName(Base):
    """A name that a purchase covers."""

    __tablename__ = "order_name"
    __table_args__ = (Index("ix_order_name_name", "name"),)

    order_id: Mapped[int] = mapped_column(Id, ForeignKey("order.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
