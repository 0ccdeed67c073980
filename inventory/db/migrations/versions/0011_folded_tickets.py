"""One reference for all tickets of a paragraph, and confirmations of mass mail given ahead."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # NULL: messages show the reference of the ticket itself, as they did before.
    op.add_column("matter", sa.Column("shown_reference", sa.Text()))
    op.create_index("ix_matter_shown_reference", "matter", ["shown_reference"])
    op.create_table(
        "mass_allowance",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("clients", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_to", sa.Text(), server_default="", nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
    )
