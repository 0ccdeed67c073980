"""Tables of the records: clients, contacts, servers, domains, endpoints, tags; the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        # Without foreign keys: entries outlive the rows that they are about.
        "audit",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("row_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "client",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account_manager", sa.Text(), nullable=True),
        sa.Column(
            "reseller_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("hosts", sa.Text(), nullable=True),
        sa.Column("dns", sa.Text(), nullable=True),
        sa.Column("buys", sa.Text(), nullable=True),
        sa.Column("renews", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["reseller_id"], ["client.id"], name=op.f("fk_client_reseller_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client")),
        # Commands accept the name instead of the number, so both are unique.
        sa.UniqueConstraint("name", name=op.f("uq_client_name")),
        sa.UniqueConstraint("number", name=op.f("uq_client_number")),
    )
    op.create_index(op.f("ix_client_reseller_id"), "client", ["reseller_id"], unique=False)
    op.create_table(
        "server",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("keeper", sa.Text(), nullable=True),
        sa.Column("addresses", sa.Text(), server_default="", nullable=False),
        sa.Column("backends", sa.Text(), server_default="", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("hosts", sa.Text(), nullable=True),
        sa.Column("dns", sa.Text(), nullable=True),
        sa.Column("buys", sa.Text(), nullable=True),
        sa.Column("renews", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server")),
        sa.UniqueConstraint("name", name=op.f("uq_server_name")),
    )
    op.create_table(
        "tag",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "row_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "row_id", "name", name=op.f("pk_tag")),
    )
    # Scans and listings select by a tag.
    op.create_index("ix_tag_name", "tag", ["name"], unique=False)
    op.create_table(
        "contact",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("client_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column(
            "fallback_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_contact_client_id")),
        sa.ForeignKeyConstraint(
            ["fallback_id"], ["contact.id"], name=op.f("fk_contact_fallback_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
    )
    op.create_index(op.f("ix_contact_client_id"), "contact", ["client_id"], unique=False)
    op.create_index(op.f("ix_contact_fallback_id"), "contact", ["fallback_id"], unique=False)
    op.create_table(
        "domain",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "client_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("purpose", sa.Text(), server_default="site", nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("hosts", sa.Text(), nullable=True),
        sa.Column("dns", sa.Text(), nullable=True),
        sa.Column("buys", sa.Text(), nullable=True),
        sa.Column("renews", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_domain_client_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_domain_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain")),
    )
    op.create_index(op.f("ix_domain_client_id"), "domain", ["client_id"], unique=False)
    # Not unique: a retired domain keeps its row when another client gets the name.
    op.create_index("ix_domain_name", "domain", ["name"], unique=False)
    op.create_index(op.f("ix_domain_server_id"), "domain", ["server_id"], unique=False)
    op.create_index(
        "uq_domain_active_name",
        "domain",
        ["name"],
        unique=True,
        sqlite_where=sa.text("state != 'retired'"),
        postgresql_where=sa.text("state != 'retired'"),
    )
    op.create_table(
        "contact_way",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "contact_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="good", nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["contact.id"], name=op.f("fk_contact_way_contact_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_way")),
        sa.UniqueConstraint(
            "contact_id", "kind", "value", name=op.f("uq_contact_way_contact_id_kind_value")
        ),
    )
    op.create_index(op.f("ix_contact_way_contact_id"), "contact_way", ["contact_id"], unique=False)
    op.create_table(
        "endpoint",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("addresses", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_endpoint_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint")),
        sa.UniqueConstraint(
            "domain_id",
            "host",
            "port",
            "protocol",
            name=op.f("uq_endpoint_domain_id_host_port_protocol"),
        ),
    )
    op.create_index(op.f("ix_endpoint_domain_id"), "endpoint", ["domain_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the migration.")
