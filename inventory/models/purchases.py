"""Certificates bought from a vendor for a term."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, JsonTexts, TableColumn
from inventory.vocabulary import ProductKind, PurchaseState, Validation


class StoredPurchase(Base):
    """A certificate bought for a term.

    Amounts are decimal texts in ``currency``; ``starts_at`` and ``ends_at`` are its first and
    last second.
    """

    __tablename__ = "order"
    __table_args__ = (Index("ix_order_number", "number"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    client_id: TableColumn[int] = TableColumn(Id, ForeignKey("client.id"), index=True)
    vendor: TableColumn[str]
    # the vendor's
    number: TableColumn[str | None]
    # dv, ov, ev
    validation: TableColumn[Validation] = TableColumn(EnumText(Validation))
    # single, multi, wildcard
    kind: TableColumn[ProductKind] = TableColumn(EnumText(ProductKind))
    years: TableColumn[int] = TableColumn(Integer)
    starts_at: TableColumn[Timestamp]
    ends_at: TableColumn[Timestamp]
    price: TableColumn[str | None]
    # of one installation
    fee: TableColumn[str | None]
    currency: TableColumn[str | None]
    warranty: TableColumn[str | None]
    # client, us
    bought_by: TableColumn[str]
    contact_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("contact.id"), index=True)
    # paths of files
    documents: TableColumn[tuple[str, ...]] = TableColumn(JsonTexts, server_default="[]")
    # 1: the vendor renews it automatically
    auto_renew: TableColumn[int] = TableColumn(Integer, server_default="0")
    # when control of the domains was last validated
    dcv_at: TableColumn[Timestamp | None]
    # when the organisation was
    organisation_at: TableColumn[Timestamp | None]
    successor_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("order.id"), index=True)
    # of a cancellation
    reason: TableColumn[str | None]
    note: TableColumn[str | None]
    # active, cancelled
    state: TableColumn[PurchaseState] = TableColumn(
        EnumText(PurchaseState), server_default="active"
    )
    created_at: TableColumn[Timestamp]
    retired_at: TableColumn[Timestamp | None]


class PurchaseName(Base):
    """A name that a purchase covers."""

    __tablename__ = "order_name"
    __table_args__ = (Index("ix_order_name_name", "name"),)

    order_id: TableColumn[int] = TableColumn(Id, ForeignKey("order.id"), primary_key=True)
    name: TableColumn[str] = TableColumn(primary_key=True)
