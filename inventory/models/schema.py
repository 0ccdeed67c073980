"""The whole schema: the tables with what SQLAlchemy knows per database only.

An index of some rows has a separate condition per database. To read one, SQLAlchemy imports the
modules of both databases, which commands with SQLite do not need: so such indexes stand here.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import InstrumentedAttribute

from inventory.models.acme import AcmeOrder
from inventory.models.base import Base
from inventory.models.domains import Domain
from inventory.models.scans import StoredFinding


def _unique_among(name: str, condition: str, *columns: InstrumentedAttribute[Any]) -> Index:
    """Make values unique among the rows that meet a condition."""
    return Index(
        name,
        *columns,
        unique=True,
        sqlite_where=text(condition),
        postgresql_where=text(condition),
    )


_unique_among("uq_acme_order_open", "ended_at IS NULL", AcmeOrder.lineage_id)
_unique_among("uq_domain_active_name", "state != 'retired'", Domain.name)
_unique_among("uq_finding_open", "closed_at IS NULL", StoredFinding.endpoint_id, StoredFinding.code)

metadata = Base.metadata
