"""The provider's servers and load balancers."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Words
from inventory.vocabulary import RecordState, ServerKind


class Server(Base):
    """A machine or load balancer of the provider."""

    __tablename__ = "server"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(unique=True)
    # web, mail, balancer, panel, cdn, other
    kind: Mapped[ServerKind] = mapped_column(EnumText(ServerKind))
    keeper: Mapped[str | None]
    addresses: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    # inside addresses behind a balancer, host[:port]
    backends: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    note: Mapped[str | None]
    hosts: Mapped[str | None]
    dns: Mapped[str | None]
    buys: Mapped[str | None]
    renews: Mapped[str | None]
    state: Mapped[RecordState] = mapped_column(EnumText(RecordState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]
