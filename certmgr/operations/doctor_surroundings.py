"""Checks of what certmgr depends on outside of its database: the configuration, the clock, the
resolver, the files with secrets, the mail server, SPF, the inbox, and the rules of browsers.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from certmgr.config.file_rights import changeable_by_others, programs
from certmgr.config.secret_values import secret
from certmgr.config.settings import Settings
from certmgr.net.dns import DnsClient
from certmgr.net.dns_answers import DnsAnswer
from certmgr.notices.setup import channels_of, rules_of, templates_of
from certmgr.operations.check_result import CheckResult, CheckState
from certmgr.x509.trust_data import OLD_AFTER, age, load_rules, rules_path
from inventory.db.database import Database
from inventory.store import audit_log
from inventory.text import printable
from notifiers.channels import Channel
from notifiers.inbox.mailbox import reachable
from notifiers.mail_sessions import connect_smtp
from notifiers.pipeline.limits import clock_fault
from notifiers.tls_sockets import BoundedTlsSocket, system_trust

# Files that exist while a time service runs: systemd-timesyncd, chrony, ntp, ntpsec.
SYNCHRONISED = (
    Path("/run/systemd/timesync/synchronized"),
    Path("/run/chrony"),
    Path("/var/lib/ntp"),
    Path("/var/lib/ntpsec"),
)


def configuration(settings: Settings) -> Iterator[CheckResult]:
    yield CheckResult("configuration", CheckState.OK, settings.source)
    # Both raise an error for an invalid value: a pattern or a template that fails only when a
    # notice is due would be found too late.
    rules_of(settings)
    templates_of(settings)
    channels = channels_of(settings.notify)
    # A warning and not a fault: an inventory may be in use before any client is notified.
    if not settings.notify.mail:
        yield CheckResult(
            "channels",
            CheckState.WARNING,
            "no mail can be sent: [notify] mail is empty",
            'Set mail = "env:CERTMGR_MAIL" with a mailtos:// URL.',
        )
    else:
        yield CheckResult("channels", CheckState.OK, ", ".join(sorted(channels)))
    # A notice without a sender that the client knows looks like phishing.
    if not settings.provider.name:
        yield CheckResult(
            "provider",
            CheckState.WARNING,
            "notices have no sender name: [provider] name is empty",
            "Set the name that clients know.",
        )
    if not settings.notify.inbox:
        yield CheckResult(
            "inbox",
            CheckState.WARNING,
            "replies and bounces are not read: [notify] inbox is empty",
            "Configure a mailbox, or record replies with certmgr notice ack.",
        )
    # The heartbeat refuses other URLs, so each run would report a problem.
    if settings.notify.heartbeat and not secret(settings.notify.heartbeat).startswith("https://"):
        yield CheckResult(
            "heartbeat", CheckState.FAULT, "the URL is not https://", "Correct [notify] heartbeat."
        )
    if not settings.notify.heartbeat:
        yield CheckResult(
            "heartbeat",
            CheckState.WARNING,
            "no monitor detects an outage of this machine: [notify] heartbeat is empty",
            "Configure the URL of an outside monitor.",
        )


def clock(database: Database | None, now: datetime) -> Iterator[CheckResult]:
    if database is not None:
        with database.read() as conn:
            fault = clock_fault(now, audit_log.newest_instant(conn))
        # A wrong clock would notify clients of ends that are not near.
        if fault:
            yield CheckResult(
                "clock", CheckState.FAULT, fault, "Set the clock. Until then no client is notified."
            )
            return
    if any(p.exists() for p in SYNCHRONISED):
        yield CheckResult(
            "clock", CheckState.OK, f"{now:%Y-%m-%d %H:%M:%S} UTC, synchronised by a time service"
        )
    else:
        yield CheckResult(
            "clock",
            CheckState.WARNING,
            f"{now:%Y-%m-%d %H:%M:%S} UTC, and no time service was found",
            "Install systemd-timesyncd, chrony or ntpsec.",
        )


def trust_rules(settings: Settings, now: datetime) -> Iterator[CheckResult]:
    """Check the age of the rules of browsers: certifi alone has no dates."""
    rules = load_rules(rules_path(settings.trust.rules))
    days = age(rules, now).days
    text = f"version {rules.version} ({rules.source}), {days} day(s) old"
    if days > OLD_AFTER.days:
        yield CheckResult(
            "trust rules",
            CheckState.WARNING,
            f"{text}; later decisions of browsers about CAs are not known",
            "certmgr trust update FILE|URL, or install a newer certmgr.",
        )
    else:
        yield CheckResult("trust rules", CheckState.OK, text)


def resolver_answers(settings: Settings) -> Iterator[CheckResult]:
    """Check that each resolver answers."""
    # The root exists for every resolver, also without access to the zones of clients.
    answers = DnsClient.of(settings).ask_each(".", "NS")
    good = [server for server, answer in answers if answer.status in ("ok", "nodata")]
    bad = [f"{server}: {_dns_reason(a)}" for server, a in answers if server not in good]
    text = "; ".join([*bad, *([f"{', '.join(good)} answers"] if good else [])])
    if good and bad:
        yield CheckResult(
            "resolver",
            CheckState.WARNING,
            text,
            "Fix it, or remove it: each question to it waits for its time limit.",
        )
    elif good:
        yield CheckResult("resolver", CheckState.OK, text)
    else:
        what = text or "this machine has no name server"
        yield CheckResult("resolver", CheckState.FAULT, what, _RESOLVER)


_RESOLVER = "Fix it, or set another in [scan] resolvers. Without a resolver, all runs are suspect."


def _dns_reason(answer: DnsAnswer) -> str:
    """Return in our words why a name server is of no use."""
    match answer.status:
        case "nxdomain":
            return "it answers that the root zone does not exist"
        case "timeout":
            return "no answer in time"
        case _:
            return f"it refuses the question, or fails ({answer.reason})"


def file_rights(settings: Settings) -> Iterator[CheckResult]:
    """Check that no other user can change the configuration, or a program that it names."""
    files = [Path(settings.source)] if settings.has_file else []
    files += sorted({Path(c[0]) for c in programs(settings)})
    faults = [(f, p) for f in files if (p := changeable_by_others(f)) is not None]
    for file, place in faults:
        yield CheckResult(
            "file rights",
            CheckState.FAULT,
            f"other users may change {place}, and so {file}",
            f"chown root {place}; chmod go-w {place}",
        )
    if not faults:
        yield CheckResult(
            "file rights",
            CheckState.OK,
            f"no other user may change the configuration and its programs ({len(files)} file(s))",
        )


def _has_password(url: str) -> bool:
    """Return whether the URL of a database has a password.

    One with a user alone is usual: the server trusts the user of the machine, or asks for a
    certificate, or libpq reads the password from ~/.pgpass.
    """
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):  # such as a port that is not a number
        return "@" in url
    return found.password is not None or "password" in found.query


def secrets(settings: Settings) -> Iterator[CheckResult]:
    """Check that only their owner can read the files with secrets."""
    paths: list[Path] = []
    values = [
        settings.database.url,
        settings.notify.mail,
        settings.notify.inbox,
        settings.notify.heartbeat,
    ]
    # A channel is name=URL, and the URL has the token.
    values += [c.partition("=")[2].strip() for c in settings.notify.channels]
    paths += [Path(v.partition(":")[2]) for v in values if v.startswith("file:")]
    stated = [v for v in values if "://" in v and not v.startswith(("env:", "file:"))]
    # Another URL with "@" has a password or token in it, and then the configuration file itself is
    # a secret.
    plain = [v for v in stated if (_has_password(v) if v == settings.database.url else "@" in v)]
    if plain and settings.has_file:
        yield CheckResult(
            "secrets",
            CheckState.WARNING,
            "the configuration contains a password in clear text",
            "Use env:NAME or file:PATH instead.",
        )
        paths.append(Path(settings.source))
    bad = [p for p in paths if p.exists() and stat.S_IMODE(p.stat().st_mode) & 0o077]
    for path in bad:
        yield CheckResult(
            "secrets", CheckState.FAULT, f"{path} can be read by others", f"chmod 600 {path}"
        )
    folder = Path(settings.notify.templates) if settings.notify.templates else None
    # A template that others can write could change the messages to clients.
    if folder is not None and folder.exists() and stat.S_IMODE(folder.stat().st_mode) & 0o022:
        yield CheckResult(
            "secrets",
            CheckState.FAULT,
            f"{folder} can be written by others, and its templates are sent to clients",
            f"chmod go-w {folder}",
        )
    if not bad and not plain:
        yield CheckResult(
            "secrets",
            CheckState.OK,
            (
                f"{len(paths)} file(s) with secrets, readable only by their owner"
                if paths
                else "no secrets in files"
            ),
        )


def mail_server(settings: Settings, now: datetime) -> Iterator[CheckResult]:
    """Connect to the mail server, start TLS, and disconnect.

    It sends no message and does not log in, because some servers limit the number of logins.
    """

    channel = channels_of(settings.notify).get("mail")
    if channel is None:
        return
    host, port, mode = channel.server
    context = system_trust()
    # The certificate is verified as by the delivery: a server that fails here would fail there.
    with connect_smtp(host, port, 10.0, context, starttls=mode != "ssl") as server:
        if mode != "ssl":
            server.starttls(context=context)
        server.ehlo()
        sock = server.sock
        peer = sock.getpeercert() if isinstance(sock, BoundedTlsSocket) else None
        version = sock.version() if isinstance(sock, BoundedTlsSocket) else "no TLS"
        end = (
            datetime.fromtimestamp(ssl.cert_time_to_seconds(str(peer["notAfter"])), UTC)
            if peer
            else None
        )
    # Without TLS the password would be sent in clear text, which counts like an expired
    # certificate.
    left = (end - now).days if end is not None else 0
    yield CheckResult(
        "mail server",
        CheckState.WARNING if left < 7 else CheckState.OK,
        f"{host}:{port} answers with {version}; its certificate ends in {left} days",
        "Renew it; without it, no notice can be sent." if left < 7 else "",
    )


def inbox(settings: Settings) -> Iterator[CheckResult]:
    if settings.notify.inbox:
        yield CheckResult(
            "inbox", CheckState.OK, f"{reachable(secret(settings.notify.inbox))} new mail(s)"
        )


def spf(settings: Settings) -> Iterator[CheckResult]:
    """Check the SPF record (RFC 7208) of the sender's domain.

    Mail from a domain without a valid record is often refused.
    """

    channel: Channel | None = channels_of(settings.notify).get("mail")
    if channel is None:
        return
    domain = channel.sender.rpartition("@")[2]
    answer = DnsClient.of(settings).ask(domain, "TXT")
    if not answer.determined:
        yield CheckResult(
            "SPF",
            CheckState.WARNING,
            f"the record of {domain} could not be queried: {answer.reason}",
            "Check the resolver first.",
        )
        return
    # RFC 7208 4.5: other TXT records of the domain do not begin with this version.
    records = [
        t for t in answer.records if t.lower() == "v=spf1" or t.lower().startswith("v=spf1 ")
    ]
    # RFC 7208 section 4.5: more than one record is a permanent error.
    if len(records) > 1:
        yield CheckResult(
            "SPF",
            CheckState.FAULT,
            f"{domain} has {len(records)} SPF records, which makes all of them invalid",
            "Keep only one.",
        )
    elif not records:
        yield CheckResult(
            "SPF",
            CheckState.WARNING,
            f"{domain} has no SPF record",
            f"Add a TXT record v=spf1 that names the mail server of {channel.server[0]}.",
        )
    # RFC 7208 4.6.2: a mechanism without a qualifier is a pass.
    elif records[0].split()[-1] in ("+all", "all"):
        yield CheckResult(
            "SPF",
            CheckState.WARNING,
            f"{domain} allows all servers to send for it ({printable(records[0], 80)})",
            "End it with ~all or -all.",
        )
    else:
        yield CheckResult("SPF", CheckState.OK, f"{domain}: {printable(records[0], 80)}")
