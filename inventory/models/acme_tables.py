"""The tables of ACME and of revocation.

As in tables.py: instants are whole seconds since 1970 in UTC, JSON columns hold text.

A lineage is the standing arrangement for one certificate that is renewed: names, account, how
control is shown, where it goes. What runs as a program (hooks, targets) stands in the
configuration; rows only name it.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from inventory.models.tables import Id, _id, _life, _ref, metadata

acme_account = Table(
    "acme_account",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column(
        "ca", Text, nullable=False
    ),  # a known CA, or one of the configuration, else the host of the directory
    Column("directory", Text, nullable=False),
    Column("url", Text),  # of the account at the CA; NULL until it answered
    Column("key_reference", Text, nullable=False),
    Column("contacts", Text, nullable=False, server_default=""),  # space-separated mail addresses
    Column("eab_kid", Text),
    Column("terms", Text),  # the URL that was agreed to
    Column("agreed_at", BigInteger),
    Column("agreed_by", Text),
    _ref("fallback_id", "acme_account", nullable=True),
    *_life(),
)

lineage = Table(
    "lineage",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),  # a word of ours, and a folder
    _ref("client_id", "client"),
    _ref("account_id", "acme_account"),
    Column("key_type", Text, nullable=False),
    Column("reuse_key", Integer, nullable=False, server_default="0"),
    Column("csr", Text),  # the client's own, PEM: then the key is not ours
    Column("solver", Text, nullable=False),
    Column("profile", Text),
    Column("preferred_chain", Text),
    Column(
        "targets", Text, nullable=False, server_default=""
    ),  # space-separated words of the configuration
    Column(
        "shrink", Text, nullable=False, server_default="ask"
    ),  # ask, auto: whether names in quarantine may be left out
    Column(
        "shrink_ok", Text, nullable=False, server_default=""
    ),  # the quarantined names whose leaving out was approved, space-separated
    Column("sha256", Text, ForeignKey("certificate.sha256")),  # the newest certificate
    Column("chain", Text, nullable=False, server_default=""),  # SHA-256 of each, leaf first
    Column("deployed", Text),  # SHA-256 of the leaf that the current link holds
    Column("proven_at", BigInteger),  # when that leaf was seen live on every address
    Column("proof", Text),  # what the last look said
    Column("rolled_back", Text),  # SHA-256 of the leaf that was taken back: once, then staff
    Column(
        "compromised", Text, nullable=False, server_default=""
    ),  # SHA-256 of leaves that must never come back, space-separated
    Column("ari_start", BigInteger),
    Column("ari_end", BigInteger),
    Column("ari_at", BigInteger),  # the instant that was drawn once for this window
    Column("ari_url", Text),  # explanationURL
    Column("ari_next_at", BigInteger),  # when to ask again
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("next_at", BigInteger),  # not before
    Column("error", Text),  # what was said last, JSON of certmgr/acme/problems.py
    *_life(),
)

lineage_name = Table(
    "lineage_name",
    metadata,
    Column("lineage_id", Id, ForeignKey("lineage.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default="active"),  # active, quarantined
    Column("since", BigInteger),
    Column("reason", Text),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column(
        "checked_at", BigInteger
    ),  # when it was last looked whether a name in quarantine can return
    Index("ix_lineage_name_name", "name"),
)

# One order at the CA for one intent of a lineage. Written before the CA hears of it.
acme_order = Table(
    "acme_order",
    metadata,
    _id(),
    _ref("lineage_id", "lineage"),
    _ref("account_id", "acme_account"),
    Column(
        "state", Text, nullable=False
    ),  # intended, asked, pending, finalizing, issued, deployed, failed, abandoned
    Column("reason", Text, nullable=False),  # why it was begun
    Column("names", Text, nullable=False),  # space-separated
    Column("profile", Text),
    Column("replaces", Text),  # ARI certificate id
    Column(
        "exempt", Integer, nullable=False, server_default="0"
    ),  # placed as ARI says: counts against no limit
    Column(
        "key_name", Text, nullable=False
    ),  # of its file, drawn: ids of rows come again after an erasure or a restored backup
    Column("key_reference", Text),
    Column("csr", Text),
    Column("url", Text),
    Column("certificate_url", Text),
    Column("sha256", Text, ForeignKey("certificate.sha256")),
    Column("error", Text),
    Column("holder", Text),  # token of the process that leads it
    Column("lease_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)
Index(
    "uq_acme_order_open",
    acme_order.c.lineage_id,
    unique=True,
    sqlite_where=text("ended_at IS NULL"),
    postgresql_where=text("ended_at IS NULL"),
)

# What counts against a CA's limits.
acme_event = Table(
    "acme_event",
    metadata,
    _id(),
    _ref("account_id", "acme_account"),
    Column("at", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # order, certificate, failure
    Column("domain", Text),  # registered domain, or the name that failed
    Column("names", Text),  # digest of the exact set
    Column("exempt", Integer, nullable=False, server_default="0"),
    Index("ix_acme_event_account_id_at", "account_id", "at"),
)

# A CA or a name of it that is left alone until then.
acme_backoff = Table(
    "acme_backoff",
    metadata,
    Column("directory", Text, primary_key=True),
    Column("scope", Text, primary_key=True),  # a name, "account:NAME", or "" for the CA
    Column("failures", Integer, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# One certificate brought to one target.
deployment = Table(
    "deployment",
    metadata,
    _id(),
    _ref("lineage_id", "lineage"),
    Column("sha256", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("state", Text, nullable=False),  # pending, done, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", BigInteger, nullable=False),
    Column("error", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("done_at", BigInteger),
    UniqueConstraint("lineage_id", "sha256", "target"),
)

# A certificate revocation list as it was fetched last, its signature checked.
crl = Table(
    "crl",
    metadata,
    Column("url", Text, primary_key=True),
    Column("digest", Text),
    Column("body", LargeBinary),
    Column("this_update", BigInteger),
    Column("next_update", BigInteger),
    Column("fetched_at", BigInteger),
    Column("next_at", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("error", Text),
)

# What a CRL last said of a leaf. A failed look changes checked_at of nothing.
revocation = Table(
    "revocation",
    metadata,
    Column("sha256", Text, ForeignKey("certificate.sha256"), primary_key=True),
    Column("status", Text, nullable=False),  # good, revoked, unknown
    Column("reason", Text),
    Column("revoked_at", BigInteger),
    Column("source", Text),  # the URL of the CRL
    Column("detail", Text),  # why it is unknown
    Column("checked_at", BigInteger, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Index("ix_revocation_status", "status"),
)
