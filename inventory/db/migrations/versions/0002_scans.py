"""Tables of scans: certificates, runs, endpoint status, observations, findings, acceptances."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "certificate",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("not_after", sa.BigInteger(), nullable=True),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("is_ca", sa.Integer(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_certificate")),
    )
    # All CA certificates are read at the start of each scan.
    op.create_index("ix_certificate_is_ca", "certificate", ["is_ca"], unique=False)
    op.create_table(
        "run",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("vantage", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("scope", sa.Text(), server_default="", nullable=False),
        sa.Column("planned", sa.Integer(), server_default="0", nullable=False),
        sa.Column("looked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("undetermined", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_table(
        "acceptance",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("client_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "endpoint_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_acceptance_client_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_acceptance_domain_id")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name=op.f("fk_acceptance_endpoint_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acceptance")),
    )
    op.create_index(op.f("ix_acceptance_client_id"), "acceptance", ["client_id"], unique=False)
    op.create_index(op.f("ix_acceptance_domain_id"), "acceptance", ["domain_id"], unique=False)
    op.create_index(op.f("ix_acceptance_endpoint_id"), "acceptance", ["endpoint_id"], unique=False)
    op.create_table(
        "finding",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "endpoint_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("addresses", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "opened_run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column(
            "closed_run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.ForeignKeyConstraint(["closed_run"], ["run.id"], name=op.f("fk_finding_closed_run")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name=op.f("fk_finding_endpoint_id")
        ),
        sa.ForeignKeyConstraint(["opened_run"], ["run.id"], name=op.f("fk_finding_opened_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding")),
    )
    # Nearly all findings of a large inventory are closed; status reads the open ones.
    op.create_index("ix_finding_closed_at", "finding", ["closed_at"], unique=False)
    op.create_index(
        "ix_finding_endpoint_id_closed_at", "finding", ["endpoint_id", "closed_at"], unique=False
    )
    op.create_index(
        "uq_finding_open",
        "finding",
        ["endpoint_id", "code"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        # Spans and not single observations: a year of daily scans of a million endpoints is then
        # 0.2 GB instead of 9.
        "observation",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "endpoint_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("leaf", sa.Text(), nullable=True),
        sa.Column("tls_version", sa.Text(), nullable=True),
        sa.Column("cipher", sa.Text(), nullable=True),
        sa.Column("group_name", sa.Text(), nullable=True),
        sa.Column("alpn", sa.Text(), nullable=True),
        sa.Column("ocsp", sa.Text(), nullable=True),
        sa.Column("trusted", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name=op.f("fk_observation_endpoint_id")
        ),
        sa.ForeignKeyConstraint(["leaf"], ["certificate.sha256"], name=op.f("fk_observation_leaf")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
    )
    op.create_index(
        "ix_observation_endpoint_id_open", "observation", ["endpoint_id", "open"], unique=False
    )
    # Revocation and incidents begin with a certificate and ask where it is served.
    op.create_index("ix_observation_leaf", "observation", ["leaf"], unique=False)
    op.create_table(
        # What a run would change; it takes effect only if the run ends well.
        "proposal",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "endpoint_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name=op.f("fk_proposal_endpoint_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_proposal_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal")),
    )
    op.create_index(op.f("ix_proposal_run_id"), "proposal", ["run_id"], unique=False)
    op.create_table(
        "standing",
        sa.Column(
            "endpoint_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("fingerprint", sa.Text(), server_default="", nullable=False),
        sa.Column("memo", sa.Text(), server_default="", nullable=False),
        sa.Column("recheck_at", sa.BigInteger(), nullable=True),
        sa.Column("judged_at", sa.BigInteger(), nullable=True),
        sa.Column("good", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "last_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("last_attempt", sa.BigInteger(), nullable=False),
        sa.Column("error_layer", sa.Text(), nullable=True),
        sa.Column("error_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("failing_runs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_good", sa.BigInteger(), nullable=True),
        sa.Column("leaf", sa.Text(), nullable=True),
        sa.Column("not_after", sa.BigInteger(), nullable=True),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name=op.f("fk_standing_endpoint_id")
        ),
        sa.ForeignKeyConstraint(["last_run_id"], ["run.id"], name=op.f("fk_standing_last_run_id")),
        sa.ForeignKeyConstraint(["leaf"], ["certificate.sha256"], name=op.f("fk_standing_leaf")),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_standing")),
    )
    op.create_index(op.f("ix_standing_last_run_id"), "standing", ["last_run_id"], unique=False)
    # Status lists the first end first.
    op.create_index("ix_standing_not_after", "standing", ["not_after"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the migration.")
