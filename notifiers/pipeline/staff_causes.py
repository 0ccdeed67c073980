"""What the digest lists about sites: one line per cause, with what to do as a command. Pure.

A line names the first host and how many more there are, the client, how long it has been so or how
long it will take, and why staff read of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from inventory.dates import LAST, days_left, in_zone
from inventory.names import display
from inventory.records import ClientSummary, ListedTicket
from inventory.targets import Target
from inventory.vocabulary import SEVERITY_ORDER, Actor, Severity
from notifiers.pipeline.message import one_line
from notifiers.pipeline.staff_message import SectionLine
from notifiers.pipeline.thresholds import renewal_margin
from notifiers.pipeline.topic import Topic, TopicKind

EXPIRED = "certificate-expired"
EXPIRING = "certificate-expiring"
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class StaffReader:
    """What the lines of a digest need to know besides the topics.

    Attributes:
        zone: The time zone of the provider, in which its staff read dates.
        clients: The clients by id, for their names.
    """

    now: datetime
    zone: tzinfo
    clients: Mapping[int, ClientSummary]

    def day(self, at: datetime) -> str:
        """Return the day of a timestamp in the time zone of the provider."""
        return f"{in_zone(at, self.zone):%Y-%m-%d}"

    def day_of(self, seconds: int) -> str:
        """Return the day of a time in seconds, in the time zone of the provider."""
        return f"{datetime.fromtimestamp(seconds, self.zone):%Y-%m-%d}"

    def client(self, client_id: int, number: str = "") -> str:
        """Return the number and the name of a client."""
        known = self.clients.get(client_id)
        if known is None:
            return f"client {number}".strip()
        return f"{known.number} {one_line(known.name, 60)}".strip()


@dataclass(frozen=True, slots=True)
class ExpirySummary:
    """The certificates that need attention most, as lines and as numbers of endpoints.

    Attributes:
        expired: One line per certificate that has expired, the oldest first.
        soon: One line per certificate that expires within a week, the next first.
        expired_count: The number of endpoints that serve an expired certificate.
        soon_count: The number of endpoints whose certificate expires within a week.
    """

    expired: tuple[SectionLine, ...] = ()
    soon: tuple[SectionLine, ...] = ()
    expired_count: int = 0
    soon_count: int = 0


def is_about_dates(topic: Topic) -> bool:
    """Return whether the topic is a certificate that has expired or will expire."""
    return topic.kind is TopicKind.COVER or topic.code in (EXPIRED, EXPIRING)


def expiries(
    topics: Iterable[Topic], reasons: Mapping[str, str], reader: StaffReader
) -> ExpirySummary:
    """Return the certificates that have expired, and those that expire within a week.

    Args:
        topics: All topics of the inventory.
        reasons: Why staff read of a topic, by its key.
    """
    expired: list[Topic] = []
    soon: list[Topic] = []
    for topic in topics:
        end = topic.end
        # What was accepted, parked or retired was decided by a person, who is not asked again.
        if topic.suppress_reason or not is_about_dates(topic):
            continue
        if topic.code == EXPIRED:
            expired.append(topic)
        elif end is not None and end <= reader.now + WEEK and not _in_time(topic, reader.now):
            soon.append(topic)
    return ExpirySummary(
        tuple(cause_lines([(t, reasons.get(t.key, "")) for t in expired], reader)),
        tuple(cause_lines([(t, reasons.get(t.key, "")) for t in soon], reader)),
        len(expired),
        len(soon),
    )


def _in_time(topic: Topic, now: datetime) -> bool:
    """Return whether automation renews the certificate, and is not late yet.

    A certificate of six days always expires within a week. That is news only if its automation
    missed its time, by the same margin as for thresholds.
    """
    schedule = topic.schedule
    if schedule is None or schedule.renewal_lead is None:
        return False
    margin = renewal_margin(schedule.renewal_lead)
    return schedule.at - now > schedule.renewal_lead - margin


def cause_lines(
    topics: Sequence[tuple[Topic, str]], reader: StaffReader, *, worst_first: bool = False
) -> list[SectionLine]:
    """Return one line per cause, client's side and reason.

    What ends first comes first, then the worst severity, then the cause with the most endpoints.

    Args:
        topics: Each topic, and why staff read of it.
        worst_first: Whether the severity comes before the end.
    """
    # With the reason in the key: the same cause may be assigned at one site and not at another.
    groups: dict[tuple[str, str], list[Topic]] = {}
    for topic, reason in topics:
        why = reason or _promise(topic, reader)
        groups.setdefault((topic.cause or topic.key, why), []).append(topic)

    def order(
        entry: tuple[tuple[str, str], list[Topic]],
    ) -> tuple[int, datetime, int, int, str]:
        group = entry[1]
        ends = [t.end for t in group if t.end is not None]
        worst = min(SEVERITY_ORDER[Severity(t.severity)] for t in group)
        first = worst if worst_first else 0
        return first, min(ends, default=LAST), worst, -len(group), entry[0][0]

    return [_cause_line(g, why, reader) for (_, why), g in sorted(groups.items(), key=order)]


def _promise(topic: Topic, reader: StaffReader) -> str:
    """Return who fixes it and until when; empty if it is not assigned."""
    if topic.assigned is None or not topic.is_assigned(reader.now):
        return ""
    return f"{topic.assigned[0]} fixes it until {reader.day(topic.assigned[1])}"


def _cause_line(group: Sequence[Topic], why: str, reader: StaffReader) -> SectionLine:
    # The same code may be worse at another endpoint; the worst is the example.
    first = min(group, key=lambda t: (SEVERITY_ORDER[Severity(t.severity)], t.target.key))
    hosts = hosts_text([t.target for t in (first, *group)])
    others = len({t.client_id for t in group}) - 1
    owner = reader.client(first.client_id, first.client)
    if others > 0:
        owner += f" and {others} more client(s)"
    if not why and first.actor == Actor.CLIENT:
        why = "the client has to act"
    parts = [_how_long(first, group, reader), *([why] if why else [])]
    return SectionLine(
        f"{first.code}: {hosts}; {owner}: {'; '.join(parts)}", _command(first, group, reader.now)
    )


def _how_long(first: Topic, group: Sequence[Topic], reader: StaffReader) -> str:
    """Return since when a fault exists, or when the certificate ends or ended."""
    if first.end is None:
        opened = min(t.opened for t in group)
        return f"since {reader.day(opened)} ({days_text(days_left(reader.now, opened))})"
    days = days_left(first.end, reader.now)
    if first.end <= reader.now:
        return f"expired on {reader.day(first.end)}, {days_text(-days)} ago"
    return f"expires on {reader.day(first.end)}, in {days_text(days)}"


def _command(first: Topic, group: Sequence[Topic], now: datetime) -> str:
    """Return the command for what staff can do: assign what is theirs, else inspect it."""
    # What a colleague fixes already must not be given to another one by the way.
    if first.actor == Actor.CLIENT or first.is_assigned(now):
        return f"certmgr domain show {first.target.host}"
    scope = "endpoint" if len({t.target.key for t in group}) == 1 else "cause"
    target = shlex.quote(argument_of(first.target))
    return f"certmgr finding assign {first.code} --{scope} {target} --by NAME --until DATE"


def argument_of(target: Target) -> str:
    """Return a target as an argument of a command: in ASCII, and short for HTTPS."""
    plain = target.port == 443 and target.protocol == "https"
    return target.host if plain else target.key


def days_text(days: int) -> str:
    """Return a number of days in words."""
    return f"{days} day" if days == 1 else f"{days} days"


def hosts_text(targets: Iterable[Target]) -> str:
    """Return the first host, and how many more there are."""
    hosts = list(dict.fromkeys(display(t.host) for t in targets))
    return hosts[0] + (f" and {len(hosts) - 1} more" if len(hosts) > 1 else "")


def held_lines(waiting: Iterable[ListedTicket], reader: StaffReader) -> list[SectionLine]:
    """Return one line per cause whose tickets are held, the one with the most tickets first."""
    groups: dict[str, list[ListedTicket]] = {}
    causes_at: dict[str, set[str]] = {}
    for row in waiting:
        groups.setdefault(row.cause, []).append(row)
        if site := row.host or row.domain:
            causes_at.setdefault(site, set()).add(row.cause)
    lines = []
    for cause, group in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0])):
        names = list(dict.fromkeys(display(n) for r in group if (n := r.host or r.domain)))
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        owners = {r.client_id for r in group}
        owner = f"{group[0].client or ''} {one_line(group[0].client_name or '', 60)}".strip()
        others = f" and {len(owners) - 1} more client(s)" if len(owners) > 1 else ""
        code = f"{group[0].code}: " if group[0].code else ""
        since = reader.day_of(min(r.opened_at for r in group))
        # A site that only this cause concerns is shorter to paste than the name of the cause.
        sites = (n for r in group if (n := r.host or r.domain) and len(causes_at[n]) == 1)
        lines.append(
            SectionLine(
                f"{code}{names[0] if names else cause}{more}; {owner}{others}: held since {since}",
                f"certmgr notice release {shlex.quote(next(sites, cause))}",
            )
        )
    return lines


def digest_subject(expiry: ExpirySummary, faults: int, calls: int, rest: int) -> str:
    """Return what a digest is about, the most urgent first. Empty if there is nothing.

    Args:
        faults: The number of causes without an assignee.
        calls: The number of clients to call.
        rest: The number of other lines.
    """
    soon = expiry.soon_count
    parts = [
        f"{expiry.expired_count} expired" if expiry.expired_count else "",
        f"{soon} {'expires' if soon == 1 else 'expire'} within a week" if soon else "",
        f"{faults} {'fault' if faults == 1 else 'faults'} to assign" if faults else "",
        f"{calls} {'client' if calls == 1 else 'clients'} to call" if calls else "",
    ]
    named = [p for p in parts if p]
    if not named and rest:
        return f"{rest} {'line' if rest == 1 else 'lines'} for you"
    return ", ".join(named)
