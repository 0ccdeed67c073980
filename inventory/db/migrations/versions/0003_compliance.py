"""Page observations, further paths of a domain, and the deadlines of the provider."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deadline",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("purchase_days", sa.Integer(), nullable=False),
        sa.Column("validation_days", sa.Integer(), nullable=False),
        sa.Column("installation_days", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deadline")),
        # Also among retired deadlines, since notices were sent under the name.
        sa.UniqueConstraint("name", name=op.f("uq_deadline_name")),
    )
    op.create_table(
        "deadline_scope",
        sa.Column(
            "deadline_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deadline_id"], ["deadline.id"], name=op.f("fk_deadline_scope_deadline_id")
        ),
        sa.PrimaryKeyConstraint("deadline_id", "kind", "value", name=op.f("pk_deadline_scope")),
    )
    op.create_table(
        "web_observation",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "endpoint_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name=op.f("fk_web_observation_endpoint_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_observation")),
    )
    op.create_index(
        "ix_web_observation_endpoint_id_open",
        "web_observation",
        ["endpoint_id", "open"],
        unique=False,
    )
    op.add_column("domain", sa.Column("paths", sa.Text(), server_default="", nullable=False))
    op.add_column("observation", sa.Column("public", sa.Integer(), nullable=True))
    op.add_column(
        "acceptance", sa.Column("kind", sa.Text(), server_default="accept", nullable=False)
    )
