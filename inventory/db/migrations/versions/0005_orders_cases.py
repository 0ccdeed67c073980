"""Tables of purchases (named ``order``), cases and incidents; calendar entries of notices.

Two unused columns are dropped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "incident",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
        sa.UniqueConstraint("reference", name=op.f("uq_incident_reference")),
    )
    op.create_table(
        "order",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "client_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("validation", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("years", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Text(), nullable=True),
        sa.Column("fee", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("warranty", sa.Text(), nullable=True),
        sa.Column("bought_by", sa.Text(), nullable=False),
        sa.Column(
            "contact_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("documents", sa.Text(), server_default="[]", nullable=False),
        sa.Column("auto_renew", sa.Integer(), server_default="0", nullable=False),
        sa.Column("dcv_at", sa.BigInteger(), nullable=True),
        sa.Column("organisation_at", sa.BigInteger(), nullable=True),
        sa.Column(
            "successor_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_order_client_id")),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_order_contact_id")),
        sa.ForeignKeyConstraint(["successor_id"], ["order.id"], name=op.f("fk_order_successor_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order")),
    )
    op.create_index(op.f("ix_order_client_id"), "order", ["client_id"], unique=False)
    op.create_index(op.f("ix_order_contact_id"), "order", ["contact_id"], unique=False)
    # Not unique: each vendor has its numbers, and a renewal has none at first.
    op.create_index("ix_order_number", "order", ["number"], unique=False)
    op.create_index(op.f("ix_order_successor_id"), "order", ["successor_id"], unique=False)
    op.create_table(
        "case",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column(
            "client_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "incident_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), server_default="1", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column(
            "contact_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("staff_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("bought_by", sa.Text(), nullable=False),
        sa.Column("own_csr", sa.Integer(), server_default="0", nullable=False),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("price", sa.Text(), nullable=True),
        sa.Column("fee", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("approved_how", sa.Text(), nullable=True),
        sa.Column("window_start", sa.BigInteger(), nullable=True),
        sa.Column("window_end", sa.BigInteger(), nullable=True),
        sa.Column("window_zone", sa.Text(), nullable=True),
        sa.Column("window_sequence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("window_state", sa.Text(), server_default="none", nullable=False),
        sa.Column("installed_at", sa.BigInteger(), nullable=True),
        sa.Column("live_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("said", sa.Text(), server_default="[]", nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_case_client_id")),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_case_contact_id")),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_case_incident_id")),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name=op.f("fk_case_order_id")),
        sa.ForeignKeyConstraint(["staff_id"], ["contact.id"], name=op.f("fk_case_staff_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case")),
        sa.UniqueConstraint("reference", name=op.f("uq_case_reference")),
    )
    op.create_index(op.f("ix_case_client_id"), "case", ["client_id"], unique=False)
    op.create_index(op.f("ix_case_contact_id"), "case", ["contact_id"], unique=False)
    op.create_index(op.f("ix_case_incident_id"), "case", ["incident_id"], unique=False)
    op.create_index(op.f("ix_case_order_id"), "case", ["order_id"], unique=False)
    op.create_index("ix_case_state", "case", ["state"], unique=False)
    op.create_table(
        "order_name",
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name=op.f("fk_order_name_order_id")),
        sa.PrimaryKeyConstraint("order_id", "name", name=op.f("pk_order_name")),
    )
    op.create_index("ix_order_name_name", "order_name", ["name"], unique=False)
    op.create_table(
        # Every change of a case, so that both sides can see who decided what, and when.
        "case_event",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("case_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_case_event_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_event")),
    )
    op.create_index(op.f("ix_case_event_case_id"), "case_event", ["case_id"], unique=False)
    op.create_table(
        "case_name",
        sa.Column("case_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_case_name_case_id")),
        sa.PrimaryKeyConstraint("case_id", "name", name=op.f("pk_case_name")),
    )
    # Each scan and each new case asks by name.
    op.create_index("ix_case_name_name", "case_name", ["name"], unique=False)
    op.create_table(
        "incident_item",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "incident_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("client_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("names", sa.Text(), server_default="", nullable=False),
        sa.Column("sort", sa.Text(), nullable=False),
        sa.Column("case_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_incident_item_case_id")),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.id"], name=op.f("fk_incident_item_client_id")
        ),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incident.id"], name=op.f("fk_incident_item_incident_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_item")),
    )
    op.create_index(op.f("ix_incident_item_case_id"), "incident_item", ["case_id"], unique=False)
    op.create_index(
        op.f("ix_incident_item_client_id"), "incident_item", ["client_id"], unique=False
    )
    op.create_index(
        op.f("ix_incident_item_incident_id"), "incident_item", ["incident_id"], unique=False
    )
    op.create_table(
        "issuance",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("case_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("key_type", sa.Text(), server_default="", nullable=False),
        sa.Column("spki", sa.Text(), nullable=True),
        sa.Column("csr", sa.Text(), nullable=True),
        sa.Column("key_reference", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("chain", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=True),
        sa.Column("live_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_issuance_case_id")),
        sa.ForeignKeyConstraint(["order_id"], ["order.id"], name=op.f("fk_issuance_order_id")),
        sa.ForeignKeyConstraint(
            ["sha256"], ["certificate.sha256"], name=op.f("fk_issuance_sha256")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issuance")),
    )
    op.create_index(op.f("ix_issuance_case_id"), "issuance", ["case_id"], unique=False)
    op.create_index(op.f("ix_issuance_order_id"), "issuance", ["order_id"], unique=False)
    op.create_index("ix_issuance_sha256", "issuance", ["sha256"], unique=False)
    op.drop_column("broadcast", "ended_at")
    op.drop_column("decision", "notice_id")
    op.add_column("notice", sa.Column("calendar", sa.Text(), server_default="", nullable=False))
