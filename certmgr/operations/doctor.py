"""Checks of the set-up. Each check yields results: ok, warning or fault, why, and what to do.

The checks change nothing and send no notice.
"""

from __future__ import annotations

import os
import smtplib
import ssl
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dns.exception
import dns.resolver

from certmgr.acme import health as acme_health
from certmgr.cases import health as case_health
from certmgr.config.settings import Settings, resolver_parts, secret
from certmgr.notices.setup import channels_of, rules_of, templates_of
from certmgr.x509.trust_data import OLD_AFTER, age, load_rules, rules_path
from inventory.db import audit_chain, maintenance
from inventory.db.database import Database, to_epoch
from inventory.db.opening import open_database
from inventory.errors import CertmgrError
from inventory.store import audit_log, contacts, jobs, outbox, runs, tickets
from inventory.store import recipients as recipient_store
from inventory.text import printable
from notifiers.channels import Channel
from notifiers.inbox import reachable
from notifiers.pipeline.limits import clock_fault

OK, WARNING, FAULT = "ok", "warning", "fault"
# Files that exist while a time service runs: systemd-timesyncd, chrony, ntp, ntpsec.
SYNCHRONISED = (
    Path("/run/systemd/timesync/synchronized"),
    Path("/run/chrony"),
    Path("/var/lib/ntp"),
    Path("/var/lib/ntpsec"),
)
# A daily job may be two hours late.
MAX_AGE = 26 * 3600


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One result of a check.

    Attributes:
        check: The name of the check.
        state: ok, warning or fault.
        what: What was found.
        todo: What the administrator should do; empty for ok.
    """

    check: str
    state: str
    what: str
    todo: str = ""


Check = Callable[[], Iterator[CheckResult]]
_TODO = {
    "mail server": "Start it, open its port, or correct [notify] mail.",
    "database": "See certmgr database check.",
}


def examine(settings: Settings, url: str, now: datetime) -> Iterator[CheckResult]:
    """Run all checks.

    A check that fails with an error yields a fault, and the other checks still run.

    Args:
        settings: The configuration.
        url: The database. It is neither created nor migrated.
        now: The current time.
    """
    database: Database | None = None
    yield from _guarded("configuration", lambda: _configuration(settings))
    try:
        database = open_database(url, migrate=False) if _exists(url) else None
    except CertmgrError as error:
        yield CheckResult(
            "database", FAULT, error.what + (f": {error.why}" if error.why else ""), error.todo
        )
    else:
        if database is None:
            yield CheckResult(
                "database",
                WARNING,
                "there is no database yet",
                "Add a client and a domain, which creates it.",
            )
    checks: list[tuple[str, Check]] = [
        ("clock", lambda: _clock(database, now)),
        ("resolver", lambda: _resolver(settings)),
        ("secrets", lambda: _secrets(settings)),
        ("mail server", lambda: _mail(settings, now)),
        ("SPF", lambda: _spf(settings)),
        ("inbox", lambda: _inbox(settings)),
        ("trust rules", lambda: _trust_rules(settings, now)),
    ]
    # Without a database, only the checks of the surroundings can run.
    if database is not None:
        opened = database
        checks += [
            ("database", lambda: _database(opened)),
            ("audit log", lambda: _audit(opened)),
            ("staff", lambda: _staff(opened)),
            ("contacts", lambda: _contacts(opened, settings)),
            ("notices", lambda: _notices(opened, now)),
            ("cases", lambda: _cases(opened, settings, now)),
            ("ACME", lambda: _acme(opened, settings, now)),
            ("runs", lambda: _runs(opened, now)),
        ]
    for name, check in checks:
        yield from _guarded(name, check)


def _exists(url: str) -> bool:
    return "://" in url or Path(url).is_file()


def _guarded(name: str, check: Check) -> Iterator[CheckResult]:
    """Run one check; an error becomes a fault."""
    try:
        yield from check()
    except CertmgrError as error:
        yield CheckResult(
            name, FAULT, error.what + (f": {error.why}" if error.why else ""), error.todo
        )
    except (OSError, ssl.SSLError, smtplib.SMTPException) as error:
        yield CheckResult(
            name,
            FAULT,
            printable(str(error) or type(error).__name__, 200),
            _TODO.get(name, "Check the configuration."),
        )


def _configuration(settings: Settings) -> Iterator[CheckResult]:
    yield CheckResult("configuration", OK, settings.source)
    rules_of(settings)
    templates_of(settings)
    channels = channels_of(settings.notify)
    if not settings.notify.mail:
        yield CheckResult(
            "channels",
            WARNING,
            "no mail can be sent: [notify] mail is empty",
            'Set mail = "env:CERTMGR_MAIL" with a mailtos:// URL.',
        )
    else:
        yield CheckResult("channels", OK, ", ".join(sorted(channels)))
    if not settings.provider.name:
        yield CheckResult(
            "provider",
            WARNING,
            "notices have no sender name: [provider] name is empty",
            "Set the name that clients know.",
        )
    if not settings.notify.inbox:
        yield CheckResult(
            "inbox",
            WARNING,
            "replies and bounces are not read: [notify] inbox is empty",
            "Configure a mailbox, or record replies with certmgr notice ack.",
        )
    # The heartbeat refuses other URLs, so each run would report a problem.
    if settings.notify.heartbeat and not secret(settings.notify.heartbeat).startswith("https://"):
        yield CheckResult(
            "heartbeat", FAULT, "the URL is not https://", "Correct [notify] heartbeat."
        )
    if not settings.notify.heartbeat:
        yield CheckResult(
            "heartbeat",
            WARNING,
            "no monitor detects an outage of this machine: [notify] heartbeat is empty",
            "Configure the URL of an outside monitor.",
        )


def _clock(database: Database | None, now: datetime) -> Iterator[CheckResult]:
    if database is not None:
        with database.read() as conn:
            fault = clock_fault(now, audit_log.newest_instant(conn))
        # A wrong clock would notify clients of ends that are not near.
        if fault:
            yield CheckResult(
                "clock", FAULT, fault, "Set the clock. Until then no client is notified."
            )
            return
    if any(p.exists() for p in SYNCHRONISED):
        yield CheckResult(
            "clock", OK, f"{now:%Y-%m-%d %H:%M:%S} UTC, synchronised by a time service"
        )
    else:
        yield CheckResult(
            "clock",
            WARNING,
            f"{now:%Y-%m-%d %H:%M:%S} UTC, and no time service was found",
            "Install systemd-timesyncd, chrony or ntpsec.",
        )


def _trust_rules(settings: Settings, now: datetime) -> Iterator[CheckResult]:
    """Check the age of the rules of browsers: certifi alone has no dates."""
    rules = load_rules(rules_path(settings.trust.rules))
    days = age(rules, now).days
    text = f"version {rules.version} ({rules.source}), {days} day(s) old"
    if days > OLD_AFTER.days:
        yield CheckResult(
            "trust rules",
            WARNING,
            f"{text}; later decisions of browsers about CAs are not known",
            "certmgr trust update FILE|URL, or install a newer certmgr.",
        )
    else:
        yield CheckResult("trust rules", OK, text)


def _resolver(settings: Settings) -> Iterator[CheckResult]:
    resolver = _resolver_of(settings)
    try:
        resolver.resolve(".", "NS", raise_on_no_answer=False)
        yield CheckResult(
            "resolver", OK, f"{', '.join(str(n) for n in resolver.nameservers[:3])} answers"
        )
    except dns.exception.DNSException as error:
        yield CheckResult(
            "resolver",
            FAULT,
            printable(str(error), 150),
            "Fix it, or set another in [scan] resolvers. Without a resolver, all runs are suspect.",
        )


def _resolver_of(settings: Settings) -> Any:
    if not settings.scan.resolvers:
        resolver = dns.resolver.Resolver()
    else:
        resolver = dns.resolver.Resolver(configure=False)
        hosts, ports = [], {}
        for text in settings.scan.resolvers:
            host, port = resolver_parts(text)
            host = host.strip("[]")
            hosts.append(host)
            ports[host] = int(port)
        resolver.nameservers, resolver.nameserver_ports = hosts, ports
    resolver.lifetime = 5.0
    return resolver


def _secrets(settings: Settings) -> Iterator[CheckResult]:
    """Check that only their owner can read the files with secrets."""
    paths: list[Path] = []
    values = [
        settings.database.url,
        settings.notify.mail,
        settings.notify.inbox,
        settings.notify.heartbeat,
    ]
    values += [c.partition("=")[2].strip() for c in settings.notify.channels]
    paths += [Path(v.partition(":")[2]) for v in values if v.startswith("file:")]
    # A URL with "@" has a password in it, and then the configuration file itself is a secret.
    plain = [v for v in values if "://" in v and "@" in v and not v.startswith(("env:", "file:"))]
    if plain and settings.source != "built-in defaults":
        yield CheckResult(
            "secrets",
            WARNING,
            "the configuration contains a password in clear text",
            "Use env:NAME or file:PATH instead.",
        )
        paths.append(Path(settings.source))
    bad = [p for p in paths if p.exists() and stat.S_IMODE(p.stat().st_mode) & 0o077]
    for path in bad:
        yield CheckResult("secrets", FAULT, f"{path} can be read by others", f"chmod 600 {path}")
    folder = Path(settings.notify.templates) if settings.notify.templates else None
    # A template that others can write could change the messages to clients.
    if folder is not None and folder.exists() and stat.S_IMODE(folder.stat().st_mode) & 0o022:
        yield CheckResult(
            "secrets",
            FAULT,
            f"{folder} can be written by others, and its templates are sent to clients",
            f"chmod go-w {folder}",
        )
    if not bad and not plain:
        yield CheckResult(
            "secrets",
            OK,
            (
                f"{len(paths)} file(s) with secrets, readable only by their owner"
                if paths
                else "no secrets in files"
            ),
        )


def _mail(settings: Settings, now: datetime) -> Iterator[CheckResult]:
    """Connect to the mail server, start TLS, and disconnect.

    It sends no message and does not log in, because some servers limit the number of logins.
    """

    channel = channels_of(settings.notify).get("mail")
    if channel is None:
        return
    host, port, mode = channel.server
    context = ssl.create_default_context()
    connection = (
        smtplib.SMTP_SSL(host, port, timeout=10, context=context)
        if mode == "ssl"
        else smtplib.SMTP(host, port, timeout=10)
    )
    with connection as server:
        if mode != "ssl":
            server.starttls(context=context)
        server.ehlo()
        sock = server.sock
        peer = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
        version = sock.version() if isinstance(sock, ssl.SSLSocket) else "no TLS"
        end = (
            datetime.fromtimestamp(ssl.cert_time_to_seconds(str(peer["notAfter"])), UTC)
            if peer
            else None
        )
    left = (end - now).days if end is not None else 0
    yield CheckResult(
        "mail server",
        WARNING if left < 7 else OK,
        f"{host}:{port} answers with {version}; its certificate ends in {left} days",
        "Renew it; without it, no notice can be sent." if left < 7 else "",
    )


def _inbox(settings: Settings) -> Iterator[CheckResult]:
    if settings.notify.inbox:
        yield CheckResult("inbox", OK, f"{reachable(secret(settings.notify.inbox))} new mail(s)")


def _contacts(database: Database, settings: Settings) -> Iterator[CheckResult]:
    """Check for contact methods without a channel, bounced addresses, and unknown clients."""

    known = set(channels_of(settings.notify))
    with database.read() as conn:
        people = contacts.listing(conn)
        numbers = {c.number for c in recipient_store.clients(conn).values()}
    unconfigured = [
        c.name
        for c in people
        for w in c.ways
        if w.startswith("channel:") and w.partition(":")[2] not in known
    ]
    bounced = [c.name for c in people if c.bad]
    if unconfigured:
        yield CheckResult(
            "contacts",
            FAULT,
            f"{len(unconfigured)} contact method(s) use channels that are not configured:"
            f" {printable(', '.join(unconfigured[:5]), 100)}",
            "Correct [notify] channels, or the contacts.",
        )
    if bounced:
        yield CheckResult(
            "contacts",
            WARNING,
            f"{len(bounced)} contact(s) have an address that bounced:"
            f" {printable(', '.join(bounced[:5]), 100)}",
            "certmgr contact edit NAME --method email:ADDRESS",
        )
    unknown = sorted(set(rules_of(settings).policy.thresholds.by_client) - numbers)
    if unknown:
        yield CheckResult(
            "contacts",
            WARNING,
            "[notify] thresholds has clients that do not exist:"
            f" {printable(', '.join(unknown), 100)}",
            "Correct their numbers.",
        )
    if not (unconfigured or bounced or unknown):
        yield CheckResult("contacts", OK, f"{len(people)}, all contact methods are valid")


def _spf(settings: Settings) -> Iterator[CheckResult]:
    """Check the SPF record (RFC 7208) of the sender's domain.

    Mail from a domain without a valid record is often refused.
    """

    channel: Channel | None = channels_of(settings.notify).get("mail")
    if channel is None:
        return
    domain = channel.sender.rpartition("@")[2]
    try:
        answer = _resolver_of(settings).resolve(domain, "TXT")
        texts = [b"".join(r.strings).decode("utf-8", "replace") for r in answer]
    except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
        texts = []
    except dns.exception.DNSException as error:
        yield CheckResult(
            "SPF",
            WARNING,
            f"the record of {domain} could not be queried: {printable(str(error), 100)}",
            "Check the resolver first.",
        )
        return
    records = [t for t in texts if t.lower() == "v=spf1" or t.lower().startswith("v=spf1 ")]
    # RFC 7208 section 4.5: more than one record is a permanent error.
    if len(records) > 1:
        yield CheckResult(
            "SPF",
            FAULT,
            f"{domain} has {len(records)} SPF records, which makes all of them invalid",
            "Keep only one.",
        )
    elif not records:
        yield CheckResult(
            "SPF",
            WARNING,
            f"{domain} has no SPF record",
            f"Add a TXT record v=spf1 that names the mail server of {channel.server[0]}.",
        )
    elif records[0].split()[-1] in ("+all", "all"):
        yield CheckResult(
            "SPF",
            WARNING,
            f"{domain} allows all servers to send for it ({printable(records[0], 80)})",
            "End it with ~all or -all.",
        )
    else:
        yield CheckResult("SPF", OK, f"{domain}: {printable(records[0], 80)}")


def _database(database: Database) -> Iterator[CheckResult]:
    problems = maintenance.check(database)
    for problem in problems:
        yield CheckResult("database", FAULT, problem, "See certmgr database check.")
    if not problems:
        yield CheckResult(
            "database",
            OK,
            str(database.path or database.engine.url.render_as_string(hide_password=True)),
        )
    path = database.path
    if (
        path is not None
        and (free := os.statvfs(path.parent)).f_bavail * free.f_frsize < 500_000_000
    ):
        yield CheckResult(
            "database",
            WARNING,
            f"the disk has {free.f_bavail * free.f_frsize // 1_000_000} MB left",
            "Free disk space.",
        )


def _audit(database: Database) -> Iterator[CheckResult]:
    with database.read() as conn:
        broken_entry, head, count = audit_chain.verify_chain(audit_log.entries(conn))
        sent = jobs.state(conn, "digest").detail.get("head")
        cut = sent is not None and sent != audit_chain.START and audit_log.has(conn, sent) is None
    if broken_entry is not None:
        yield CheckResult(
            "audit log",
            FAULT,
            f"entry {broken_entry} does not follow the entry before it",
            "See certmgr audit verify.",
        )
    # A chain that was cut at its end is consistent, so it is compared with the last digest.
    elif cut:
        yield CheckResult(
            "audit log",
            FAULT,
            "the hash of the last digest is not in it: entries were removed",
            "See certmgr audit verify.",
        )
    else:
        yield CheckResult("audit log", OK, f"{count} entries, head {head[:16]}")


def _staff(database: Database) -> Iterator[CheckResult]:
    with database.read() as conn:
        people = [c for c in contacts.listing(conn) if c.client_id is None]
    reachable = [c for c in people if any(w.startswith(("email:", "channel:")) for w in c.ways)]
    if not reachable:
        yield CheckResult(
            "staff",
            FAULT,
            "there is no staff contact with an e-mail address or channel",
            "certmgr contact add NAME --role administrator --method email:ADDRESS",
        )
    elif not any(c.role == "administrator" for c in reachable):
        yield CheckResult(
            "staff",
            WARNING,
            "no contact has the role administrator, so no administrator is on call",
            "certmgr contact edit NAME --role administrator",
        )
    else:
        yield CheckResult("staff", OK, f"{len(reachable)} contact(s)")


def _notices(database: Database, now: datetime) -> Iterator[CheckResult]:
    at = to_epoch(now)
    with database.read() as conn:
        depth, oldest = outbox.depth(conn), outbox.oldest_queued(conn)
        quiet = tickets.waiting_since(conn, "wait", "quiet hours", at - 86_400)
        held = len(tickets.listing(conn, held=True))
    for state, todo in (
        ("unknown", "certmgr notice list --state unknown"),
        ("failed", "certmgr notice list --state failed"),
    ):
        if depth.get(state):
            yield CheckResult("notices", WARNING, f"{depth[state]} {state}", todo)
    if oldest is not None and at - oldest > 6 * 3600:
        yield CheckResult(
            "notices",
            FAULT,
            f"the oldest queued notice has waited for {(at - oldest) // 3600} hours",
            "Run certmgr notify, and check the mail server.",
        )
    elif not depth.get("unknown") and not depth.get("failed"):
        yield CheckResult(
            "notices", OK, f"{depth.get('sent', 0)} sent, {depth.get('queued', 0)} queued"
        )
    if held:
        yield CheckResult(
            "notices", WARNING, f"{held} ticket(s) are held", "certmgr notice release"
        )
    stuck = [since for since in quiet.values() if at - since > 36 * 3600]
    if stuck:
        yield CheckResult(
            "notices",
            FAULT,
            f"{len(stuck)} notice(s) wait for a time of day at which notify never runs",
            "Run certmgr notify every hour.",
        )


def _cases(database: Database, settings: Settings, now: datetime) -> Iterator[CheckResult]:
    for state, what, todo in case_health.examine(database, settings, now):
        yield CheckResult("cases", state, what, todo)


def _acme(database: Database, settings: Settings, now: datetime) -> Iterator[CheckResult]:
    for state, what, todo in acme_health.examine(database, settings, now):
        yield CheckResult("ACME", state, what, todo)


def _runs(database: Database, now: datetime) -> Iterator[CheckResult]:
    at = to_epoch(now)
    with database.read() as conn:
        complete = runs.last_complete(conn)
        last = runs.newest(conn)
        notify = jobs.state(conn, "notify")
    for name, success in (("scan", complete), ("notify", notify.success_at)):
        if success is None:
            yield CheckResult("runs", WARNING, f"{name} never succeeded", f"certmgr {name}")
        elif at - success > MAX_AGE:
            yield CheckResult(
                "runs",
                FAULT,
                f"{name} last succeeded {(at - success) // 3600} hours ago",
                "Check that cron is running. See docs/notices.md.",
            )
        else:
            yield CheckResult("runs", OK, f"{name} succeeded {(at - success) // 60} minutes ago")
    if last is not None and last.state == "suspect":
        yield CheckResult(
            "runs",
            WARNING,
            f"the last run ({last.id}) is suspect: {printable(last.reason or '', 120)}",
            "Check the cause, then scan again.",
        )
