"""The provider's servers and load balancers."""

from __future__ import annotations

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, TableColumn, Words
from inventory.vocabulary import RecordState, ServerKind


class Server(Base):
    """A machine or load balancer of the provider."""

    __tablename__ = "server"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    name: TableColumn[str] = TableColumn(unique=True)
    # web, mail, balancer, panel, cdn, other
    kind: TableColumn[ServerKind] = TableColumn(EnumText(ServerKind))
    keeper: TableColumn[str | None]
    addresses: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    # inside addresses behind a balancer, host[:port]
    backends: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    note: TableColumn[str | None]
    hosts: TableColumn[str | None]
    dns: TableColumn[str | None]
    buys: TableColumn[str | None]
    renews: TableColumn[str | None]
    state: TableColumn[RecordState] = TableColumn(EnumText(RecordState), server_default="active")
    created_at: TableColumn[Timestamp]
    retired_at: TableColumn[Timestamp | None]
