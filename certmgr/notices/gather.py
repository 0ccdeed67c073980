"""What the inventory has to say: names that lose cover, faults, deadlines, and what is over.

Reading is one edge, the rest is pure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any

from certmgr.acme import staff_news as automation
from certmgr.cases import topics as casework
from certmgr.checks.actors import actor_of, we_install
from certmgr.checks.codes import CODES
from certmgr.checks.folding import parent_of
from certmgr.compliance.assessment import ComplianceRow, judge, own_deadlines, subjects
from certmgr.compliance.milestones import Deadline
from certmgr.compliance.rules import ComplianceState
from certmgr.compliance.steps import backwards
from certmgr.inspection.status import place_of
from certmgr.purchases.model import LeadTimes
from inventory.certificates import organisation
from inventory.db.database import Database, to_epoch
from inventory.store import certificate_ends, domains, findings
from inventory.store.certificate_ends import ServedLeaf
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Actor, Finding, Parties
from notifiers.pipeline.thresholds import DAY, ThresholdRules, learnt, usual_lead
from notifiers.pipeline.topic import EndedTopic, NoticeSource, Topic, TopicKind
from notifiers.wording.scope import STRANGE, for_client

# A domain or client with this tag renews by a robot that nobody entered otherwise.
ROBOT_TAG = "auto-renewed"
# What a renewal mends.
_RENEWED = frozenset({"certificate-expired", "certificate-expiring", "revoked", "ca-distrusted"})
_DATES = frozenset({"certificate-expired", "certificate-expiring"})
_WORTH = ("critical", "high", "medium")
# Beside what a browser refuses, this is what visitors notice.
VISIBLE = frozenset(
    {
        "name-not-found",
        "unreachable",
        "connection-failed",
        "https-missing",
        "redirect-loop",
        "handshake-failed",
    }
)


def gather(
    database: Database,
    now: datetime,
    matters: Mapping[str, Mapping[str, Any]],
    rules: ThresholdRules,
    leads: LeadTimes,
    freeze: timedelta = timedelta(0),
    zone: tzinfo = UTC,
    window_minutes: int = 60,
    provider: str = "",
) -> NoticeSource:
    """``matters``: those that are open and were told, by key; of them it is said whether they are
    over. ``window_minutes``: of a window that is proposed.
    """
    at = to_epoch(now)
    until = now + max(rules.longest, leads.total + 7) * DAY + freeze
    horizon = to_epoch(until)
    with database.read() as conn:
        ids = certificate_ends.ending(
            conn, at, horizon, scaled=not (rules.by_client or rules.by_tag or freeze)
        )
        open_rows = [r for r in findings.listing(conn) if r["severity"] != "low"]
        told_ids = [int(m["endpoint_id"]) for m in matters.values() if m["endpoint_id"] is not None]
        every = sorted(
            {*ids, *(r["endpoint_id"] for r in open_rows if r["severity"] in _WORTH), *told_ids}
        )
        places = certificate_ends.places(conn, every)
        served = certificate_ends.leaves(conn, every)
        history = certificate_ends.replacements(conn, ids)
        accepted = findings.acceptances(conn, now)
        taken = findings.acceptances(conn, kind="take")
        run = certificate_ends.last_run(conn)
        complete = certificate_ends.last_complete(conn)
        clients = certificate_ends.count_clients(conn)
        names = domains.names_of_clients(conn, sorted({p["client_id"] for p in places.values()}))
        ends = certificate_ends.ends_of(
            conn, [str(m["round"]) for m in matters.values() if m["kind"] == TopicKind.COVER]
        )
        led = casework.gather(conn, now, matters, leads, window_minutes, provider)
        bought = casework.of_orders(conn, now, leads, until - now, led.open_names)
        robot = automation.gather(conn, now)
        known = certificate_ends.fault_rows(
            conn, [int(m["round"]) for m in matters.values() if m["kind"] == TopicKind.FAULT]
        )
    by_endpoint: dict[int, list[Any]] = {}
    for row in open_rows:
        by_endpoint.setdefault(row["endpoint_id"], []).append(row)
    basis = _Basis(
        now,
        places,
        by_endpoint,
        served,
        accepted,
        taken,
        names,
        ends,
        zone,
        led.open_names,
        robot.automated,
    )
    found = [s for i in ids if (s := cover(basis, i, history.get(i, ()), leads)) is not None]
    covered = {s.endpoint_id for s in found}
    found += faults(basis, covered)
    due = [d for d in own_deadlines(database) if now - timedelta(days=400) <= d.at <= until]
    met: dict[str, Topic | None] = {}
    if due:
        more, met = deadlines(database, now, due, basis)
        found = [*_parented(found, more), *more]
    found += [*led.subjects, *bought]
    current = {s.key: s for s in found}
    ended = led.ended | {
        k: e
        for k, m in matters.items()
        if (e := over(m, current.get(k), basis, known, met)) is not None
    }
    unsure = Counter(r["code"] for r in open_rows if r["severity"] == "undetermined")
    suspect = (
        f"the last run (number {run['id']}) is suspect: {run['reason']}"
        if run and run["state"] == "suspect"
        else ""
    )
    return NoticeSource(
        subjects=tuple(found),
        ended=ended,
        suspect=suspect,
        clients=clients,
        run=run["id"] if run else 0,
        whole_run=complete is not None,
        errands=led.errands,
        worklist=led.worklist,
        unsure=unsure,
        automation=robot.lines,
        alarms=robot.alarms,
    )


@dataclass(frozen=True, slots=True)
class _Basis:
    now: datetime
    places: Mapping[int, Any]
    open: Mapping[int, Sequence[Any]]
    served: Mapping[int, Sequence[ServedLeaf]]
    accepted: Sequence[Acceptance]
    taken: Sequence[Acceptance]
    names: Mapping[int, frozenset[str]]
    ends: Mapping[str, int]
    zone: tzinfo  # of the provider: in it their own dates end
    led: Mapping[int, Mapping[str, str]] = field(
        default_factory=dict
    )  # client -> name -> the case that leads it
    automated: Mapping[int, datetime] = field(
        default_factory=dict
    )  # endpoint -> until when our own robot may be left to it


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _quiet(place: Mapping[str, Any], code: str, basis: _Basis, endpoint_id: int) -> str:
    """Why clients hear nothing of it, whatever the date."""
    if "retired" in (place["state"], place["domain_state"], place["client_state"]):
        return "it is retired"
    if place["domain_state"] == "leaving":
        return "the domain is leaving"
    holds = code in CODES and CODES[code].role.startswith("holder")
    if holds and (case := basis.led.get(place["client_id"], {}).get(place["host"])) is not None:
        return f"the case {case} leads it"
    for one in basis.accepted:
        if one.covers(code, place["client_id"], place["domain_id"], endpoint_id, basis.now):
            return f"accepted by {one.by} until {one.until:%Y-%m-%d}: {one.reason}"
    return ""


def _taken(
    place: Mapping[str, Any], code: str, basis: _Basis, endpoint_id: int
) -> tuple[str, datetime] | None:
    """Who mends it by when; the latest promise, also one that has lapsed."""
    mine = [
        t
        for t in basis.taken
        if t.code == code
        and t.client_id in (None, place["client_id"])
        and t.domain_id in (None, place["domain_id"])
        and t.endpoint_id in (None, endpoint_id)
    ]
    last = max(mine, key=lambda t: t.until, default=None)
    if (
        last is None
        and code in _RENEWED
        and (until := basis.automated.get(endpoint_id)) is not None
    ):
        return "automatic renewal", until
    return None if last is None else (last.by, last.until)


def _target(place: Mapping[str, Any]) -> Target:
    return Target(place["host"], place["port"], place["protocol"])


# -- cover


def cover(
    basis: _Basis, endpoint_id: int, history: Sequence[tuple[str, int, int, int]], leads: LeadTimes
) -> Topic | None:
    """The first end of what its addresses serve.

    None where the certificate is not the client's at all: that is a fault, and not an end.
    """
    place, served = basis.places.get(endpoint_id), basis.served.get(endpoint_id)
    rows = basis.open.get(endpoint_id, ())
    codes = {r["code"] for r in rows}
    if place is None or not served or codes & STRANGE:
        return None
    first = min(served, key=lambda leaf: (leaf.not_after, leaf.sha256))
    end, start, now = _moment(first.not_after), _moment(first.not_before), basis.now
    parties = domains.parties_of_row(place)
    over_ = end <= now
    code = "certificate-expired" if over_ else "certificate-expiring"
    elsewhere = "points-elsewhere" in codes
    actor = actor_of(code, "high", parties, elsewhere=elsewhere, ever_had_certificate=True)
    client_buys = (
        actor is Actor.CLIENT
        and parties.renews not in ("panel", "cdn")
        and parties.buys not in ("panel", "cdn")
    )
    usual = _usual(place, parties, history, end - start, ours=endpoint_id in basis.automated)
    steps = backwards(
        end,
        Deadline(
            "",
            end,
            "",
            purchase_days=leads.purchase,
            validation_days=leads.validation,
            installation_days=leads.installation,
        ),
        now,
        parties,
        needs_certificate=True,
        elsewhere=elsewhere,
    )
    ahead = [s.by for s in steps if s.actor == "client" and not s.late]
    addresses = tuple(sorted(leaf.address for leaf in served if leaf.sha256 == first.sha256))
    finding = Finding(
        code, "critical" if over_ else "high", addresses, {"not_after": end.isoformat()}, actor
    )
    newer = [
        leaf
        for leaf in served
        if leaf.not_after > first.not_after and leaf.not_before > first.not_before
    ]
    kind, where = place_of(
        _target(place), place["client"], place["server"], first.sha256, first.issuer, finding
    )
    return Topic(
        key=f"cover:{endpoint_id}:{place['client_id']}",
        kind=TopicKind.COVER,
        round=first.sha256,
        client_id=place["client_id"],
        client=place["client"],
        domain_id=place["domain_id"],
        endpoint_id=endpoint_id,
        target=_target(place),
        severity=str(finding.severity),
        actor=str(actor),
        opened=start,
        end=end,
        life=end - start,
        act_by=_act_by(end, ahead if client_buys else (), now),
        lead_days=leads.total if client_buys else 0,
        usual=usual,
        code=code,
        finding=finding,
        server_id=place["server_id"],
        quiet=_quiet(place, code, basis, endpoint_id),
        partial=bool(newer),
        parent="",
        cause=f"{kind} {where} {code}",
        visible=over_,
        confirmed=True,
        taken=_taken(place, code, basis, endpoint_id),
        we_install=we_install(parties, elsewhere),
        tags=place["tags"],
        serial=first.serial,
        issuer=organisation(first.issuer),
    )


def _act_by(end: datetime, ahead: Sequence[datetime], now: datetime) -> datetime:
    """The first step that can still be done in time; else a day before the end, since what comes
    must be installed too; else the end.
    """
    return next((by for by in (*ahead, end - DAY) if by > now), end)


def _usual(
    place: Mapping[str, Any],
    parties: Parties,
    history: Sequence[tuple[str, int, int, int]],
    life: timedelta,
    *,
    ours: bool,
) -> timedelta | None:
    """How long before the end a robot renews: as it did twice, else a third of the lifetime where
    one was stated.
    """
    leads = [_moment(before[3]) - _moment(after[1]) for before, after in pairwise(history)]
    seen = learnt(life, leads)
    if seen is not None:
        return seen
    stated = (
        (parties.renews or parties.buys) in ("panel", "cdn") or ROBOT_TAG in place["tags"] or ours
    )
    return usual_lead(life) if stated else None


# -- faults


def faults(basis: _Basis, covered: set[int | None]) -> list[Topic]:
    found = []
    for endpoint_id, rows in basis.open.items():
        place = basis.places.get(endpoint_id)
        if place is None:
            continue
        codes = {r["code"] for r in rows}
        for row in rows:
            if (
                row["severity"] in _WORTH
                and row["actor"] != "none"
                and not (endpoint_id in covered and row["code"] in _DATES)
            ):
                found.append(_fault(basis, endpoint_id, place, row, codes))
    return found


def _fault(
    basis: _Basis,
    endpoint_id: int,
    place: Mapping[str, Any],
    row: Mapping[str, Any],
    codes: set[str],
) -> Topic:
    code = row["code"]
    raw = Finding(code, row["severity"], tuple(row["addresses"]), row["evidence"], row["actor"])
    finding = for_client(
        raw, basis.names.get(place["client_id"], frozenset()), strange=bool(codes & STRANGE)
    )
    served = basis.served.get(endpoint_id, ())
    leaf = served[0] if served else None
    kind, where = place_of(
        _target(place),
        place["client"],
        place["server"],
        leaf.sha256 if leaf else None,
        leaf.issuer if leaf else None,
        raw,
    )
    parent = parent_of(code, codes)
    parties = domains.parties_of_row(place)
    critical = row["severity"] == "critical"
    return Topic(
        key=f"fault:{endpoint_id}:{code}:{place['client_id']}",
        kind=TopicKind.FAULT,
        round=str(row["id"]),
        client_id=place["client_id"],
        client=place["client"],
        domain_id=place["domain_id"],
        endpoint_id=endpoint_id,
        target=_target(place),
        severity=str(row["severity"]),
        actor=row["actor"],
        opened=_moment(row["opened_at"]),
        code=code,
        finding=finding,
        server_id=place["server_id"],
        quiet=_quiet(place, code, basis, endpoint_id),
        parent=f"fault:{endpoint_id}:{parent}:{place['client_id']}" if parent else "",
        cause=f"{kind} {where} {code}",
        visible=critical or code in VISIBLE,
        confirmed=row["opened_run"] is None or row["opened_run"] < (place["last_run_id"] or 0),
        taken=_taken(place, code, basis, endpoint_id),
        we_install=we_install(parties, "points-elsewhere" in codes),
        tags=place["tags"],
        run=row["opened_run"] or 0,
        **_served(leaf if not codes & STRANGE else None),
    )


def _served(leaf: ServedLeaf | None) -> dict[str, Any]:
    """The certificate that a message names; none where what is served may be somebody else's."""
    return (
        {}
        if leaf is None
        else {
            "serial": leaf.serial,
            "issuer": organisation(leaf.issuer),
            "not_after": _moment(leaf.not_after),
        }
    )


# -- deadlines


def deadlines(
    database: Database, now: datetime, dues: Sequence[Deadline], basis: _Basis
) -> tuple[list[Topic], dict[str, Topic | None]]:
    """The provider's own deadlines that a domain does not meet, or will not; and, by key, those
    that it meets (None: nobody can say).
    """
    known, _ = subjects(database, now)
    rows = judge(known, dues, now)
    unsure = {
        f"deadline:{r.subject.domain_id}:{r.deadline.name}:{r.subject.client_id}"
        for r in rows
        if r.state is ComplianceState.UNKNOWN
    }
    late = [
        _deadline(row, now, basis)
        for row in rows
        if row.state in (ComplianceState.FAILS, ComplianceState.WILL_FAIL)
    ]
    met = [_deadline(row, now, basis) for row in rows if row.state is ComplianceState.COMPLIES]
    return late, {s.key: s for s in met} | dict.fromkeys(unsure)


def _deadline(row: ComplianceRow, now: datetime, basis: _Basis) -> Topic:
    subject, due = row.subject, row.deadline
    target, finding = next(iter(row.findings), (None, None))
    names = frozenset({subject.name, *(k.target.host for k in subject.known)})
    steps = [s for s in row.steps if s.actor == "client"]
    actor = (
        steps[0].actor
        if steps
        else (row.steps[0].actor if row.steps else (finding.actor if finding else "staff"))
    )
    ahead = [s.by for s in steps if not s.late]
    quiet = next(
        (
            _quiet(p, finding.code if finding else "", basis, i)
            for i, p in basis.places.items()
            if p["domain_id"] == subject.domain_id
        ),
        "",
    )
    return Topic(
        key=f"deadline:{subject.domain_id}:{due.name}:{subject.client_id}",
        kind=TopicKind.DEADLINE,
        round=due.at.isoformat(),
        client_id=subject.client_id,
        client=subject.client,
        domain_id=subject.domain_id,
        endpoint_id=None,
        target=target or Target(subject.name),
        severity="high",
        actor=str(actor),
        opened=now - timedelta(days=1),
        end=due.at,
        life=timedelta(days=400),
        act_by=ahead[0] if ahead else due.at,
        lead_days=due.purchase_days + due.validation_days + due.installation_days,
        code=finding.code if finding else "",
        finding=for_client(finding, names) if finding else None,
        quiet=quiet,
        cause=f"deadline {due.name}",
        visible=False,
        tags=subject.tags,
        title=due.title,
        text=due.text,
        day=(due.at + timedelta(seconds=1)).astimezone(basis.zone).date(),
        we_install=we_install(subject.parties, False),
    )


def _parented(found: Sequence[Topic], dues: Sequence[Topic]) -> list[Topic]:
    """A fault that is why a deadline will not be met is told with the deadline, unless visitors see
    an error today.
    """
    by_domain: dict[tuple[int, str], str] = {(d.domain_id, d.code): d.key for d in dues if d.code}
    return [
        (
            replace(s, parent=by_domain[(s.domain_id, s.code)])
            if s.kind is TopicKind.FAULT
            and s.severity != "critical"
            and (s.domain_id, s.code) in by_domain
            else s
        )
        for s in found
    ]


# -- what is over


def over(
    matter: Mapping[str, Any],
    now_: Topic | None,
    basis: _Basis,
    closed: Mapping[int, Mapping[str, Any]],
    met: Mapping[str, Topic | None],
) -> EndedTopic | None:
    """Whether a matter that was told is over, and whether it was mended.

    None while it goes on, or nobody can say.
    """
    key, kind = matter["key"], matter["kind"]
    if now_ is not None and now_.round == matter["round"]:
        return None
    place = basis.places.get(matter["endpoint_id"])
    if matter["endpoint_id"] is not None:
        if place is None or "retired" in (
            place["state"],
            place["domain_state"],
            place["client_state"],
        ):
            return EndedTopic(key, False, "it is retired")
        if place["client_id"] != matter["client_id"]:
            return EndedTopic(key, False, "it belongs to another client now")
    if kind == TopicKind.COVER:
        served = basis.served.get(matter["endpoint_id"], ())
        if not served or any(leaf.sha256 == matter["round"] for leaf in served):
            return None  # still served, or nothing was seen: the last thing that was known stands
        codes = {r["code"] for r in basis.open.get(matter["endpoint_id"], ())}
        if codes & STRANGE or min(leaf.not_after for leaf in served) <= basis.ends.get(
            matter["round"], 0
        ):
            return None  # another certificate, and no better one
        return EndedTopic(
            key, True, f"replaced: {served[0].serial} is served", _remnant(matter, place)
        )
    if kind == TopicKind.FAULT:
        row_id = int(matter["round"])
        if row_id not in closed:
            return EndedTopic(key, False, "its record is gone")
        if closed[row_id]["closed_at"] is None:
            return (
                EndedTopic(key, False, "it was accepted, or is no longer the client's")
                if now_ is None
                else None
            )
        return EndedTopic(
            key,
            True,
            "it was not seen any more",
            _remnant(matter, place, _mended(closed[row_id], place, basis)),
            closed[row_id]["closed_run"] or 0,
        )
    if kind == TopicKind.ORDER:
        return casework.order_ended(key, set() if now_ is None else {key})
    if kind == TopicKind.DEADLINE:
        if key in met:
            good = met[key]
            return (
                None
                if good is None
                else EndedTopic(
                    key, True, "it complies now", replace(good, end=None, severity="medium")
                )
            )
        return EndedTopic(key, False, "the deadline, or the domain, is no longer looked at")
    return None


def _mended(row: Mapping[str, Any], place: Any, basis: _Basis) -> Finding:
    raw = Finding(
        row["code"], "medium", tuple(row["addresses"].split()), json.loads(row["evidence"])
    )
    return for_client(
        raw, basis.names.get(place["client_id"], frozenset()), strange=row["code"] in STRANGE
    )


def _remnant(matter: Mapping[str, Any], place: Any, finding: Finding | None = None) -> Topic:
    """Enough of the subject to say that it is done."""
    return Topic(
        key=matter["key"],
        kind=TopicKind(matter["kind"]),
        round=matter["round"],
        client_id=matter["client_id"],
        client=place["client"],
        domain_id=place["domain_id"],
        endpoint_id=matter["endpoint_id"],
        target=_target(place),
        severity="medium",
        actor="client",
        opened=_moment(matter["opened_at"]),
        code=matter["code"] or "",
        finding=finding,
        server_id=place["server_id"],
    )
