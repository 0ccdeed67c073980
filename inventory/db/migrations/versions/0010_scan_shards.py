"""Shards of a scan that is spread over workers, and the options that all of them follow."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("run", sa.Column("options", sa.Text()))
    op.create_table(
        "scan_shard",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("endpoints", sa.Text(), nullable=False),
        sa.Column("turn", sa.Text()),
        sa.Column("share", sa.Integer(), server_default="1", nullable=False),
        sa.Column("token", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("leased_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("touched_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("error", sa.Text()),
        sa.Column("checked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("undetermined", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fell", sa.Text(), server_default="[]", nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_scan_shard_run_id", "scan_shard", ["run_id"])
