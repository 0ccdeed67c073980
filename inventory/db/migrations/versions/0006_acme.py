"""Tables of ACME (accounts, lineages, orders, deployments, rate limits) and of revocation."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "acme_account",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ca", sa.Text(), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("key_reference", sa.Text(), nullable=False),
        sa.Column("contacts", sa.Text(), server_default="", nullable=False),
        sa.Column("eab_kid", sa.Text(), nullable=True),
        sa.Column("terms", sa.Text(), nullable=True),
        sa.Column("agreed_at", sa.BigInteger(), nullable=True),
        sa.Column("agreed_by", sa.Text(), nullable=True),
        sa.Column(
            "fallback_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["fallback_id"], ["acme_account.id"], name=op.f("fk_acme_account_fallback_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_account")),
        sa.UniqueConstraint("name", name=op.f("uq_acme_account_name")),
    )
    op.create_index(
        op.f("ix_acme_account_fallback_id"), "acme_account", ["fallback_id"], unique=False
    )
    op.create_table(
        "acme_backoff",
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("directory", "scope", name=op.f("pk_acme_backoff")),
    )
    op.create_table(
        "crl",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("this_update", sa.BigInteger(), nullable=True),
        sa.Column("next_update", sa.BigInteger(), nullable=True),
        sa.Column("fetched_at", sa.BigInteger(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_crl")),
    )
    op.create_table(
        "acme_event",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("names", sa.Text(), nullable=True),
        sa.Column("exempt", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["acme_account.id"], name=op.f("fk_acme_event_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_event")),
    )
    # One open order per lineage: the index decides between processes, also on several machines.
    op.create_index(op.f("ix_acme_event_account_id"), "acme_event", ["account_id"], unique=False)
    # Rate limits count the events of an account since a time.
    op.create_index("ix_acme_event_account_id_at", "acme_event", ["account_id", "at"], unique=False)
    op.create_table(
        "lineage",
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
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("key_type", sa.Text(), nullable=False),
        sa.Column("reuse_key", sa.Integer(), server_default="0", nullable=False),
        sa.Column("csr", sa.Text(), nullable=True),
        sa.Column("solver", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=True),
        sa.Column("preferred_chain", sa.Text(), nullable=True),
        sa.Column("targets", sa.Text(), server_default="", nullable=False),
        sa.Column("shrink", sa.Text(), server_default="ask", nullable=False),
        sa.Column("shrink_ok", sa.Text(), server_default="", nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("chain", sa.Text(), server_default="", nullable=False),
        sa.Column("deployed", sa.Text(), nullable=True),
        sa.Column("proven_at", sa.BigInteger(), nullable=True),
        sa.Column("proof", sa.Text(), nullable=True),
        sa.Column("rolled_back", sa.Text(), nullable=True),
        sa.Column("compromised", sa.Text(), server_default="", nullable=False),
        sa.Column("ari_start", sa.BigInteger(), nullable=True),
        sa.Column("ari_end", sa.BigInteger(), nullable=True),
        sa.Column("ari_at", sa.BigInteger(), nullable=True),
        sa.Column("ari_url", sa.Text(), nullable=True),
        sa.Column("ari_next_at", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["acme_account.id"], name=op.f("fk_lineage_account_id")
        ),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_lineage_client_id")),
        sa.ForeignKeyConstraint(["sha256"], ["certificate.sha256"], name=op.f("fk_lineage_sha256")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lineage")),
        # The name is also that of the folder with the certificate.
        sa.UniqueConstraint("name", name=op.f("uq_lineage_name")),
    )
    op.create_index(op.f("ix_lineage_account_id"), "lineage", ["account_id"], unique=False)
    op.create_index(op.f("ix_lineage_client_id"), "lineage", ["client_id"], unique=False)
    op.create_table(
        "revocation",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"], ["certificate.sha256"], name=op.f("fk_revocation_sha256")
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_revocation")),
    )
    # Nearly all leaves are good; the findings are about the others.
    op.create_index("ix_revocation_status", "revocation", ["status"], unique=False)
    op.create_table(
        "acme_order",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "lineage_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=True),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("exempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("key_name", sa.Text(), nullable=False),
        sa.Column("key_reference", sa.Text(), nullable=True),
        sa.Column("csr", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("certificate_url", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["acme_account.id"], name=op.f("fk_acme_order_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["lineage_id"], ["lineage.id"], name=op.f("fk_acme_order_lineage_id")
        ),
        sa.ForeignKeyConstraint(
            ["sha256"], ["certificate.sha256"], name=op.f("fk_acme_order_sha256")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_order")),
    )
    op.create_index(op.f("ix_acme_order_account_id"), "acme_order", ["account_id"], unique=False)
    op.create_index(op.f("ix_acme_order_lineage_id"), "acme_order", ["lineage_id"], unique=False)
    op.create_index(
        "uq_acme_order_open",
        "acme_order",
        ["lineage_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "deployment",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "lineage_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["lineage_id"], ["lineage.id"], name=op.f("fk_deployment_lineage_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
        # A repeated step finds the row of the first one.
        sa.UniqueConstraint(
            "lineage_id", "sha256", "target", name=op.f("uq_deployment_lineage_id_sha256_target")
        ),
    )
    op.create_index(op.f("ix_deployment_lineage_id"), "deployment", ["lineage_id"], unique=False)
    op.create_table(
        "lineage_name",
        sa.Column(
            "lineage_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["lineage_id"], ["lineage.id"], name=op.f("fk_lineage_name_lineage_id")
        ),
        sa.PrimaryKeyConstraint("lineage_id", "name", name=op.f("pk_lineage_name")),
    )
    op.create_index("ix_lineage_name_name", "lineage_name", ["name"], unique=False)
