"""Zones: vantage points of scans, what is visited from each, and what was seen there."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # Shards of a run that is spread over workers during the update belong to the default zone.
    shard = "scan_shard"
    op.add_column(shard, sa.Column("zone", sa.Text(), server_default="default", nullable=False))
    op.add_column(shard, sa.Column("role", sa.Text(), server_default="only", nullable=False))
    op.add_column(shard, sa.Column("doubt", sa.Text()))
    op.add_column("run", sa.Column("notes", sa.Text(), server_default="[]", nullable=False))
    op.create_table(
        "zone",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", name=op.f("uq_zone_name")),
    )
    op.create_table(
        "zone_scope",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("row_id", _ID, server_default="0", nullable=False),
        sa.Column("value", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    columns = ["zone", "kind", "row_id", "value"]
    op.create_index("uq_zone_scope_zone", "zone_scope", columns, unique=True)
    op.create_table(
        "zone_view",
        sa.Column("endpoint_id", _ID, autoincrement=False, nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("first", sa.Integer(), server_default="0", nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("good", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("addresses", sa.Text(), server_default="", nullable=False),
        sa.Column("unrouted", sa.Text(), server_default="", nullable=False),
        sa.Column("findings", sa.Text(), server_default="[]", nullable=False),
        sa.Column("served", sa.Text(), server_default="{}", nullable=False),
        sa.Column("served_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoint.id"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("endpoint_id", "zone"),
    )
    op.create_index("ix_zone_view_run_id", "zone_view", ["run_id"])
    op.create_table(
        "zone_worker",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("queues", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker"),
    )
