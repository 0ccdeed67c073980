"""Whether a person named the assignee of a case. Only then clients read a promise in that name."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "case", sa.Column("staff_named", sa.Integer(), server_default="0", nullable=False)
    )
    # "take" is the event of certmgr case assign. Who was named at the opening is not recorded.
    op.execute(
        'UPDATE "case" SET staff_named = 1'
        " WHERE id IN (SELECT case_id FROM case_event WHERE action = 'take')"
    )
