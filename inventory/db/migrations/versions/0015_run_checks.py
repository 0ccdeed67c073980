"""What a run checks, so that it is resumed only with the same options. Those of today have none."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("checks", sa.Text(), server_default="", nullable=False))
