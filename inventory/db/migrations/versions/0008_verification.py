"""The state of the last verification of a lineage, which was read from its text until now."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lineage", sa.Column("verification", sa.Text(), nullable=True))
    # "no place": no endpoint could be probed, which is NULL.
    op.execute(
        "UPDATE lineage SET verification = CASE"
        " WHEN proven_at IS NOT NULL THEN 'live'"
        " WHEN proof LIKE 'served at %' THEN 'partial'"
        " WHEN proof LIKE 'not served at %' THEN 'absent'"
        " ELSE 'unknown' END"
        " WHERE proof IS NOT NULL AND proof NOT LIKE 'no place%'"
    )
