"""Whether an assignment makes clients due for a notice. Those of today did."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "acceptance", sa.Column("informs", sa.Integer(), server_default="1", nullable=False)
    )
