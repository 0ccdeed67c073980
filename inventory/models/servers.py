"""The provider's servers and load balancers."""

from __future__ import annotations

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, Words, column
from inventory.vocabulary import RecordState, ServerKind


class Server(Base):
    """A machine or load balancer of the provider."""

    __tablename__ = "server"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    name: ColumnOf[str] = column(unique=True)
    # web, mail, balancer, panel, cdn, other
    kind: ColumnOf[ServerKind] = column(EnumText(ServerKind))
    keeper: ColumnOf[str | None]
    addresses: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    # inside addresses behind a balancer, host[:port]
    backends: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    note: ColumnOf[str | None]
    hosts: ColumnOf[str | None]
    dns: ColumnOf[str | None]
    buys: ColumnOf[str | None]
    renews: ColumnOf[str | None]
    state: ColumnOf[RecordState] = column(EnumText(RecordState), server_default="active")
    created_at: ColumnOf[Timestamp]
    retired_at: ColumnOf[Timestamp | None]
