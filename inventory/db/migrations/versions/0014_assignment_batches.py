"""Which acceptances and assignments one command recorded. Those of today stand alone."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("acceptance", sa.Column("batch", _ID))
    op.create_index("ix_acceptance_batch", "acceptance", ["batch"])
