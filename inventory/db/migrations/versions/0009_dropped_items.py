"""What notices were about that were not delivered, so that the history of a host names them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "dropped_item",
        sa.Column("notice_id", _ID, nullable=False),
        sa.Column("matter_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(["matter_id"], ["matter.id"]),
        sa.ForeignKeyConstraint(["notice_id"], ["notice.id"]),
        sa.PrimaryKeyConstraint("notice_id", "matter_id"),
    )
    op.create_index("ix_dropped_item_matter_id", "dropped_item", ["matter_id"])
