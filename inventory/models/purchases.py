"""Certificates bought from a vendor for a term."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, JsonTexts, column
from inventory.vocabulary import Party, ProductKind, PurchaseState, Validation


class StoredPurchase(Base):
    """A certificate bought for a term.

    Amounts are decimal texts in ``currency``; ``starts_at`` and ``ends_at`` are its first and
    last second.
    """

    __tablename__ = "order"
    __table_args__ = (Index("ix_order_number", "number"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    client_id: ColumnOf[int] = column(Id, ForeignKey("client.id"), index=True)
    vendor: ColumnOf[str]
    # the vendor's
    number: ColumnOf[str | None]
    # dv, ov, ev
    validation: ColumnOf[Validation] = column(EnumText(Validation))
    # single, multi, wildcard
    kind: ColumnOf[ProductKind] = column(EnumText(ProductKind))
    years: ColumnOf[int] = column(Integer)
    starts_at: ColumnOf[Timestamp]
    ends_at: ColumnOf[Timestamp]
    price: ColumnOf[str | None]
    # of one installation
    fee: ColumnOf[str | None]
    currency: ColumnOf[str | None]
    warranty: ColumnOf[str | None]
    # the client, or us
    bought_by: ColumnOf[Party] = column(EnumText(Party))
    contact_id: ColumnOf[int | None] = column(Id, ForeignKey("contact.id"), index=True)
    # paths of files
    documents: ColumnOf[tuple[str, ...]] = column(JsonTexts, server_default="[]")
    # 1: the vendor renews it automatically
    auto_renew: ColumnOf[int] = column(Integer, server_default="0")
    # when control of the domains was last validated
    dcv_at: ColumnOf[Timestamp | None]
    # when the organisation was
    organisation_at: ColumnOf[Timestamp | None]
    successor_id: ColumnOf[int | None] = column(Id, ForeignKey("order.id"), index=True)
    # of a cancellation
    reason: ColumnOf[str | None]
    note: ColumnOf[str | None]
    # active, cancelled
    state: ColumnOf[PurchaseState] = column(EnumText(PurchaseState), server_default="active")
    created_at: ColumnOf[Timestamp]
    retired_at: ColumnOf[Timestamp | None]


class PurchaseName(Base):
    """A name that a purchase covers."""

    __tablename__ = "order_name"
    __table_args__ = (Index("ix_order_name_name", "name"),)

    order_id: ColumnOf[int] = column(Id, ForeignKey("order.id"), primary_key=True)
    name: ColumnOf[str] = column(primary_key=True)
