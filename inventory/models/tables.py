"""The tables.

Instants are whole seconds since 1970 in UTC; JSON columns hold text. Constraint names are fixed for
Alembic.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite's rowid needs INTEGER; PostgreSQL needs 64 bits.
Id = BigInteger().with_variant(Integer(), "sqlite")


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _ref(name: str, to: str, *, nullable: bool = False, index: bool = True) -> Column[int]:
    return Column(name, Id, ForeignKey(f"{to}.id"), nullable=nullable, index=index)


def _parties() -> list[Column[str]]:
    """Who hosts, runs the DNS, buys, renews: us, client, panel, cdn, or NULL for inherited."""
    return [Column(name, Text) for name in ("hosts", "dns", "buys", "renews")]


def _life() -> list[Column[object]]:
    return [
        Column("state", Text, nullable=False, server_default="active"),
        Column("created_at", BigInteger, nullable=False),
        Column("retired_at", BigInteger),
    ]


client = Table(
    "client",
    metadata,
    _id(),
    Column("number", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("account_manager", Text),
    _ref("reseller_id", "client", nullable=True),
    Column("note", Text),
    *_parties(),
    *_life(),
)

contact = Table(
    "contact",
    metadata,
    _id(),
    _ref("client_id", "client", nullable=True),  # NULL: the provider's own staff
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("language", Text),
    Column("time_zone", Text),
    _ref("fallback_id", "contact", nullable=True),
    Column(
        "country", Text
    ),  # ISO 3166, also with a subdivision (DE-BY): whose holidays are no working days
    Column("away_until", BigInteger),  # until then the fallback stands in
    *_life(),
)

contact_way = Table(
    "contact_way",
    metadata,
    _id(),
    _ref("contact_id", "contact"),
    Column("position", Integer, nullable=False),
    Column(
        "kind", Text, nullable=False
    ),  # email, phone, channel (the name of a channel of the configuration)
    Column("value", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="good"),  # good, bad
    UniqueConstraint("contact_id", "kind", "value"),
)

server = Table(
    "server",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # web, mail, balancer, panel, cdn, other
    Column("keeper", Text),
    Column("addresses", Text, nullable=False, server_default=""),  # space-separated
    Column(
        "backends", Text, nullable=False, server_default=""
    ),  # inside addresses behind a balancer, host[:port]
    Column("note", Text),
    *_parties(),
    *_life(),
)

domain = Table(
    "domain",
    metadata,
    _id(),
    Column("name", Text, nullable=False),  # A-labels, or an IP address
    _ref("client_id", "client"),
    _ref("server_id", "server", nullable=True),
    Column("purpose", Text, nullable=False, server_default="site"),
    Column(
        "paths", Text, nullable=False, server_default=""
    ),  # visited beside the home page, space-separated
    Column("policy", Text),  # required, optional, or NULL for the provider's rule
    Column("note", Text),
    *_parties(),
    *_life(),
)
# A domain has one client at a time; a retired row stays for the record.
Index(
    "uq_domain_active_name",
    domain.c.name,
    unique=True,
    sqlite_where=text("state != 'retired'"),
    postgresql_where=text("state != 'retired'"),
)
Index("ix_domain_name", domain.c.name)

endpoint = Table(
    "endpoint",
    metadata,
    _id(),
    _ref("domain_id", "domain"),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("addresses", Text),  # fixed addresses that are visited in place of DNS, space-separated
    *_life(),
    UniqueConstraint("domain_id", "host", "port", "protocol"),
)

tag = Table(
    "tag",
    metadata,
    Column("kind", Text, primary_key=True),  # client, domain, endpoint, server
    Column("row_id", Id, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Index("ix_tag_name", "name"),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("row_id", Id),
    Column(
        "detail", Text, nullable=False
    ),  # JSON: {column: [before, after]}; ids and words of ours, no personal data
    Column(
        "hash", Text, nullable=False, server_default=""
    ),  # SHA-256 over the hash before it and this row (inventory/db/audit_chain.py)
)

certificate = Table(
    "certificate",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("der", LargeBinary, nullable=False),
    Column("serial", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("not_before", BigInteger),
    Column("not_after", BigInteger),
    Column("names", Text, nullable=False),  # JSON list
    Column("key", Text, nullable=False),
    Column("is_ca", Integer, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
    Index("ix_certificate_is_ca", "is_ca"),
)

run = Table(
    "run",
    metadata,
    _id(),
    Column("state", Text, nullable=False),  # running, complete, incomplete, suspect
    Column("reason", Text),
    Column("vantage", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("scope", Text, nullable=False, server_default=""),
    Column("planned", Integer, nullable=False, server_default="0"),
    Column("looked", Integer, nullable=False, server_default="0"),
    Column("undetermined", Integer, nullable=False, server_default="0"),
)

# One row an endpoint: the last attempt and the last good look are separate facts.
standing = Table(
    "standing",
    metadata,
    Column("endpoint_id", Id, ForeignKey("endpoint.id"), primary_key=True, autoincrement=False),
    Column("fingerprint", Text, nullable=False, server_default=""),  # of what was reported
    Column(
        "memo", Text, nullable=False, server_default=""
    ),  # of what was seen, while the same evidence gives the same findings
    Column("recheck_at", BigInteger),  # until then
    Column(
        "judged_at", BigInteger
    ),  # when findings were last taken over; NULL: looked at, and never judged
    Column("good", Integer, nullable=False, server_default="0"),  # 1: good in the last complete run
    Column("last_run_id", Id, ForeignKey("run.id"), index=True),
    Column("last_attempt", BigInteger, nullable=False),
    Column("error_layer", Text),
    Column("error_reason", Text),
    Column("failing_since", BigInteger),
    Column("failing_runs", Integer, nullable=False, server_default="0"),
    Column("last_good", BigInteger),
    Column("leaf", Text, ForeignKey("certificate.sha256")),
    Column("not_after", BigInteger),
    Column("issuer", Text),
)
Index("ix_standing_not_after", standing.c.not_after)

# What an address of an endpoint served, over the span in which it served the same.
observation = Table(
    "observation",
    metadata,
    _id(),
    _ref("endpoint_id", "endpoint", index=False),
    Column("address", Text, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("open", Integer, nullable=False),  # 1: nothing else was seen at this address since
    Column("live", Integer, nullable=False),  # 1: the last attempt saw it
    Column(
        "chain", Text, nullable=False
    ),  # SHA-256 of each certificate, leaf first, space-separated
    Column("leaf", Text, ForeignKey("certificate.sha256")),
    Column("tls_version", Text),
    Column("cipher", Text),
    Column("group_name", Text),
    Column("alpn", Text),
    Column("ocsp", Text),
    Column("trusted", Integer),  # 1, 0, NULL: not determined
    Column("public", Integer),  # 1: the path leads to an anchor of the browsers' store
    Index("ix_observation_endpoint_id_open", "endpoint_id", "open"),
    Index("ix_observation_leaf", "leaf"),
)

# What a visitor met over HTTP and HTTPS, over the span in which that stayed the same.
web_observation = Table(
    "web_observation",
    metadata,
    _id(),
    _ref("endpoint_id", "endpoint", index=False),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("open", Integer, nullable=False),  # 1: nothing else was seen since
    Column("digest", Text, nullable=False),
    Column("document", Text, nullable=False),  # JSON: "http" of certmgr.scan/1
    Index("ix_web_observation_endpoint_id_open", "endpoint_id", "open"),
)

finding = Table(
    "finding",
    metadata,
    _id(),
    _ref("endpoint_id", "endpoint", index=False),
    Column("code", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("outcome", Text),
    Column("addresses", Text, nullable=False),  # space-separated
    Column("evidence", Text, nullable=False),  # JSON
    Column("opened_at", BigInteger, nullable=False),
    Column("opened_run", Id, ForeignKey("run.id")),
    Column("closed_at", BigInteger),
    Column("closed_run", Id, ForeignKey("run.id")),
    Index("ix_finding_endpoint_id_closed_at", "endpoint_id", "closed_at"),
    Index("ix_finding_closed_at", "closed_at"),
)
Index(
    "uq_finding_open",
    finding.c.endpoint_id,
    finding.c.code,
    unique=True,
    sqlite_where=text("closed_at IS NULL"),
    postgresql_where=text("closed_at IS NULL"),
)

# What a run would open and close. It takes effect in one transaction when the run ends well; a
# suspect or dead run leaves none of it.
proposal = Table(
    "proposal",
    metadata,
    _id(),
    _ref("run_id", "run"),
    _ref("endpoint_id", "endpoint", index=False),
    Column("changes", Text, nullable=False),  # JSON
)

acceptance = Table(
    "acceptance",
    metadata,
    _id(),
    Column("code", Text, nullable=False),
    _ref("client_id", "client", nullable=True),
    _ref("domain_id", "domain", nullable=True),
    _ref("endpoint_id", "endpoint", nullable=True),
    Column(
        "kind", Text, nullable=False, server_default="accept"
    ),  # accept: out of verdicts; take: a named person mends it by then
    Column("until", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("withdrawn_at", BigInteger),
)

# A dated rule of the provider's own. Which clients or tags it is for stands in deadline_scope; none
# there: every client.
deadline = Table(
    "deadline",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),  # the last second at which one may still not comply
    Column("rule", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text),  # for the client, in the provider's words
    Column("purchase_days", Integer, nullable=False),
    Column("validation_days", Integer, nullable=False),
    Column("installation_days", Integer, nullable=False),
    *_life(),
)

deadline_scope = Table(
    "deadline_scope",
    metadata,
    Column("deadline_id", Id, ForeignKey("deadline.id"), primary_key=True),
    Column("kind", Text, primary_key=True),  # client (its number), tag
    Column("value", Text, primary_key=True),
)


# -- notices

# What one conversation with a client is about: a name that loses cover, a fault, a deadline. Its
# reference stays the same.
matter = Table(
    "matter",
    metadata,
    _id(),
    Column("reference", Text, nullable=False, unique=True),
    Column(
        "key",
        Text,
        nullable=False,
        # cover:ENDPOINT:CLIENT, fault:ENDPOINT:CODE:CLIENT, deadline:DOMAIN:NAME:CLIENT,
        # broadcast:TEMPLATE:DEADLINE:CLIENT
    ),
    Column("kind", Text, nullable=False),
    _ref("client_id", "client", nullable=True),
    _ref("endpoint_id", "endpoint", nullable=True),
    _ref("domain_id", "domain", nullable=True),
    Column("code", Text),
    Column(
        "round", Text, nullable=False, server_default=""
    ),  # certificate, term or opening that is spoken of
    Column(
        "cause", Text, nullable=False, server_default=""
    ),  # what one action would mend, as status --causes folds it
    Column(
        "hold", Text
    ),  # baseline or mass, and the rank it was held at: nothing goes out before it is released
    Column("released_at", BigInteger),
    Column("opened_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("told_at", BigInteger),  # when a client was first told
    Column("acked_at", BigInteger),
    Column("acked_by", Text),
    Column("promised_at", BigInteger),  # next word by
    UniqueConstraint("key"),
)

# One message to one contact.
notice = Table(
    "notice",
    metadata,
    _id(),
    _ref("contact_id", "contact", nullable=True),
    _ref("client_id", "client", nullable=True),  # NULL: to staff
    Column("kind", Text, nullable=False),  # client, broadcast, digest, alarm, errand
    Column("reference", Text, nullable=False),
    Column(
        "secret", Text, nullable=False
    ),  # in the mail's headers: who returns it has seen the mail
    Column("outcome", Text),  # you-act, we-act, escalated, resolved; NULL to staff
    Column("channel", Text, nullable=False),  # mail, or the name of a channel
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("state", Text, nullable=False),  # queued, leased, sending, sent, unknown, failed, dead
    Column("token", Text),
    Column("lease_until", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    Column("sent_to", Text),
    Column("smtp_code", Integer),
    Column("error", Text),
    Column("acked_at", BigInteger),
    Column("resolved_at", BigInteger),
    Column(
        "calendar", Text, nullable=False, server_default=""
    ),  # JSON list of iCalendar files that go with it
    Index("ix_notice_state_next_at", "state", "next_at"),
    Index("ix_notice_client_id_created_at", "client_id", "created_at"),
)

# What a message says. The unique key is what makes a notice go once: recipient, subject, step,
# threshold, certificate or term.
notice_item = Table(
    "notice_item",
    metadata,
    _id(),
    _ref("notice_id", "notice"),
    Column("contact_id", Id, nullable=False),
    Column("subject", Text, nullable=False),
    Column(
        "step", Text, nullable=False
    ),  # owner, fallback, oncall, resolved, staff, digest, broadcast
    Column("threshold", Text, nullable=False),
    Column("round", Text, nullable=False),
    _ref("matter_id", "matter", nullable=True),
    UniqueConstraint("contact_id", "subject", "step", "threshold", "round"),
)

# Why somebody did or did not hear: one row as long as the decision stays the same.
decision = Table(
    "decision",
    metadata,
    _id(),
    Column("subject", Text, nullable=False),
    Column("client_id", Id, nullable=False),  # 0: staff
    Column("contact_id", Id, nullable=False),  # 0: before anybody was chosen
    Column("threshold", Text, nullable=False),
    Column("round", Text, nullable=False),
    Column("action", Text, nullable=False),  # send, wait, hold, suppress, staff
    Column("reason", Text, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    UniqueConstraint("subject", "contact_id", "threshold", "round", "action", "reason"),
    Index("ix_decision_client_id", "client_id"),
)

# A snooze, or a maintenance window: silence towards clients about one matter, domain, server,
# client, or all.
snooze = Table(
    "snooze",
    metadata,
    _id(),
    Column("scope", Text, nullable=False),  # matter, domain, server, client, all
    Column("scope_id", Id, nullable=False),
    Column("starts_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("withdrawn_at", BigInteger),
    Index("ix_snooze_until", "until"),
)

# A cause (or a broadcast) that staff let go, to so many clients a day.
release = Table(
    "release",
    metadata,
    _id(),
    Column("cause", Text, nullable=False),
    Column("per_day", Integer, nullable=False),
    Column("by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)

broadcast = Table(
    "broadcast",
    metadata,
    _id(),
    Column("template", Text, nullable=False),
    Column("tag", Text),
    Column("deadline", Text, nullable=False),
    Column("text", Text),
    Column("by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# What came in: a reply, a bounce, an automatic reply. Keyed by the mail's own id, so that reading
# it twice does nothing.
inbound = Table(
    "inbound",
    metadata,
    _id(),
    Column("message_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # reply, bounce, automatic, stranger
    Column("notice_id", Id),
    Column("contact_id", Id),
    Column("at", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
)

# The last success of each job, and what it must remember.
job = Table(
    "job",
    metadata,
    Column("name", Text, primary_key=True),
    Column("started_at", BigInteger),
    Column("success_at", BigInteger),
    Column("error", Text),
    Column("detail", Text, nullable=False, server_default="{}"),  # JSON
)


# -- orders and cases

# A purchase for a term. Amounts are decimal texts in ``currency``; ``starts_at`` and ``ends_at``
# are its first and last second.
order = Table(
    "order",
    metadata,
    _id(),
    _ref("client_id", "client"),
    Column("vendor", Text, nullable=False),
    Column("number", Text),  # the vendor's
    Column("validation", Text, nullable=False),  # dv, ov, ev
    Column("kind", Text, nullable=False),  # single, multi, wildcard
    Column("years", Integer, nullable=False),
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("price", Text),
    Column("fee", Text),  # of one installation
    Column("currency", Text),
    Column("warranty", Text),
    Column("bought_by", Text, nullable=False),  # client, us
    _ref("contact_id", "contact", nullable=True),
    Column("documents", Text, nullable=False, server_default="[]"),  # JSON list of paths
    Column(
        "auto_renew", Integer, nullable=False, server_default="0"
    ),  # 1: the vendor renews it by itself
    Column("dcv_at", BigInteger),  # when control of the domains was last validated
    Column("organisation_at", BigInteger),  # when the organisation was
    _ref("successor_id", "order", nullable=True),
    Column("reason", Text),  # of a cancellation
    Column("note", Text),
    *_life(),  # active, cancelled
    Index("ix_order_number", "number"),
)

order_name = Table(
    "order_name",
    metadata,
    Column("order_id", Id, ForeignKey("order.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Index("ix_order_name_name", "name"),
)

incident = Table(
    "incident",
    metadata,
    _id(),
    Column("reference", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # serials, issuer, server
    Column("what", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
)

# One installation between client and provider. The reference is that of its matter, so that it
# holds across all messages.
case = Table(
    "case",
    metadata,
    _id(),
    Column("reference", Text, nullable=False, unique=True),
    _ref("client_id", "client"),
    _ref("order_id", "order", nullable=True),
    _ref("incident_id", "incident", nullable=True),
    Column("kind", Text, nullable=False),  # new, renewal, reissue, incident
    Column("state", Text, nullable=False),
    Column("step", Integer, nullable=False, server_default="1"),  # counts the transitions
    Column("version", Integer, nullable=False, server_default="1"),  # counts every change
    Column("since", BigInteger, nullable=False),  # when this state began
    Column("due_at", BigInteger),
    _ref("contact_id", "contact", nullable=True),  # of the client
    Column("staff_id", Id, ForeignKey("contact.id")),
    Column("bought_by", Text, nullable=False),
    Column(
        "own_csr", Integer, nullable=False, server_default="0"
    ),  # 1: the client makes key and CSR
    Column("replaces", Text),  # SHA-256 of the leaf that it takes the place of
    Column("ends_at", BigInteger),  # when that one ends, or must be gone
    Column("price", Text),
    Column("fee", Text),
    Column("currency", Text),
    Column("approved_at", BigInteger),
    Column("approved_by", Text),
    Column("approved_how", Text),
    Column("window_start", BigInteger),
    Column("window_end", BigInteger),
    Column("window_zone", Text),
    Column("window_sequence", Integer, nullable=False, server_default="0"),
    Column("window_state", Text, nullable=False, server_default="none"),  # none, agreed, cancelled
    Column("installed_at", BigInteger),
    Column("live_at", BigInteger),
    Column("reason", Text),  # why it was declined, cancelled or reopened
    Column(
        "said", Text, nullable=False, server_default="[]"
    ),  # JSON: [code, values] of what is wrong with what came back last
    Column("opened_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Index("ix_case_state", "state"),
)

case_name = Table(
    "case_name",
    metadata,
    Column("case_id", Id, ForeignKey("case.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Index("ix_case_name_name", "name"),
)

# What happened in a case, and who said why. Never changed.
case_event = Table(
    "case_event",
    metadata,
    _id(),
    _ref("case_id", "case"),
    Column("version", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("text", Text, nullable=False, server_default=""),
)

# One certificate asked for under an order or in a case. The key is a file; here stands which
# machine has it, and where.
issuance = Table(
    "issuance",
    metadata,
    _id(),
    _ref("order_id", "order", nullable=True),
    _ref("case_id", "case", nullable=True),
    Column("key_type", Text, nullable=False, server_default=""),
    Column("spki", Text),  # SHA-256 of the public key
    Column("csr", Text),  # PEM
    Column("key_reference", Text),  # machine:path; NULL: the client has the key
    Column("sha256", Text, ForeignKey("certificate.sha256")),
    Column(
        "chain", Text, nullable=False, server_default=""
    ),  # SHA-256 of the issuers in their order, space-separated
    Column("created_at", BigInteger, nullable=False),
    Column("received_at", BigInteger),
    Column("live_at", BigInteger),
    Index("ix_issuance_sha256", "sha256"),
)

# A certificate that an incident concerns, as it was sorted when it was opened.
incident_item = Table(
    "incident_item",
    metadata,
    _id(),
    _ref("incident_id", "incident"),
    Column("serial", Text, nullable=False),
    Column("sha256", Text),
    _ref("client_id", "client", nullable=True),
    Column("names", Text, nullable=False, server_default=""),
    Column("sort", Text, nullable=False),  # replaced, automatic, ours, client, unknown
    _ref("case_id", "case", nullable=True),
)
