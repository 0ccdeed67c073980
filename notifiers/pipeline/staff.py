"""Messages to the provider's staff: one digest per day, and alarms that cannot wait.

They are in English.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from notifiers.pipeline.alarms import Alarm
from notifiers.pipeline.message import Message
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.staff_causes import ExpirySummary, digest_subject
from notifiers.pipeline.staff_message import Section, SectionLine, section, staff_message


def alarm_message(alarms: Sequence[Alarm], templates: Templates) -> Message:
    """Return one message with all alarms."""
    several = f"{len(alarms)} alarms need your attention"
    # What is held waits for a release, and not for an assignment.
    held = all(a.key in ("baseline", "mass") for a in alarms)
    command = "certmgr notice release" if held else "certmgr status --causes"
    return staff_message(
        f"[certmgr] {alarms[0].text if len(alarms) == 1 else several}",
        # The sentence of a single alarm is its subject, and stands below once more.
        "One alarm needs your attention." if len(alarms) == 1 else several,
        [section("Now", [a.text for a in alarms], command)],
        (),
        templates,
        "alarm",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffDigest:
    """The content of a digest, each part as lines.

    Attributes:
        head: The head of the audit chain. It leaves the machine with the digest, so that a
            truncated log can be detected later.
        entries: The number of entries of the audit chain.
        expiry: The certificates that have expired, and those that expire within a week.
        causes: The other faults that staff have to assign or to check, one line per cause.
        ahead: The certificates that end later and whose renewal waits for staff.
        assigned: Those that a person fixes by a date, and of which no client is notified.
        calls: The clients to call.
        held: What waits for a release, one line per cause.
        unknown: The notices whose delivery status is unknown.
        failed: The notices of the last two days that could not be sent.
        promises: What was promised to a client and is overdue.
        undetermined: The endpoints without a result, one line per finding code.
        answers: What clients answered in the last day.
        unmatched_mail: The mail of the last day that belongs to no notice.
        jobs: What failed or did not run.
        incidents: The incidents that are not over.
        cases: New and overdue cases, and the windows ahead.
        automation: What our automation could not do.
        sent: The number of notices sent in the last day.
    """

    head: str = ""
    entries: int = 0
    expiry: ExpirySummary = field(default_factory=ExpirySummary)
    causes: Sequence[SectionLine] = ()
    ahead: Sequence[SectionLine] = ()
    assigned: Sequence[SectionLine] = ()
    calls: Sequence[str] = ()
    held: Sequence[SectionLine] = ()
    unknown: Sequence[SectionLine] = ()
    failed: Sequence[SectionLine] = ()
    promises: Sequence[SectionLine] = ()
    undetermined: Sequence[SectionLine] = ()
    answers: Sequence[SectionLine] = ()
    unmatched_mail: Sequence[str] = ()
    jobs: Sequence[str] = ()
    incidents: Sequence[SectionLine] = ()
    cases: Sequence[str] = ()
    automation: Sequence[str] = ()
    sent: int = 0


def _sections(digest: StaffDigest) -> list[Section]:
    """Return the sections of a digest, in the order in which staff should act."""
    return [
        section("Jobs", digest.jobs, "certmgr doctor"),
        section("Incidents", digest.incidents, "certmgr incident list"),
        section(
            "Expired", digest.expiry.expired, "certmgr status --causes --code certificate-expired"
        ),
        section("Expires within a week", digest.expiry.soon, "certmgr status --causes"),
        section("Faults to assign or to check", digest.causes, "certmgr status --causes"),
        section("Assigned", digest.assigned, "certmgr finding list --assigned"),
        section("To call", digest.calls, "certmgr notice calls"),
        section(
            "Delivery status unknown: check whether they arrived, and retry them if not",
            digest.unknown,
            "certmgr notice list --state unknown",
        ),
        section(
            "Cases: new and overdue, and the windows of this week",
            digest.cases,
            "certmgr case list",
        ),
        section("Automatic renewal", digest.automation, "certmgr lineage list"),
        section("Not sent", digest.failed, "certmgr notice list --state failed"),
        section("Promises that are overdue", digest.promises, "certmgr finding list --assigned"),
        section("Renewals ahead, to assign", digest.ahead, "certmgr forecast"),
        section("Held until you release them", digest.held, "certmgr notice release"),
        section("Undetermined", digest.undetermined, "certmgr status --severity undetermined"),
        section("Answers of clients", digest.answers, "certmgr notice list"),
        section("Mail that belongs to no notice", digest.unmatched_mail, "certmgr notice inbox"),
    ]


def digest_message(digest: StaffDigest, day: str, templates: Templates) -> Message:
    """Return the message of a digest. Empty sections are left out."""
    sections = _sections(digest)
    count = sum(len(s.lines) + s.more for s in sections)
    about = digest_subject(digest.expiry, len(digest.causes), len(digest.calls), count)
    lead = f"{day}: {about or 'nothing for you'}; {digest.sent} notice(s) sent in the last day."
    footer = [
        f"Audit log: {digest.entries} entries, head {digest.head}. Keep this message: certmgr audit"
        f" verify --expect {digest.head}"
    ]
    # Two digests that are delivered together after an outage differ by their day.
    subject = f"[certmgr] {about or 'Nothing for you'} ({day})"
    return staff_message(subject, lead, sections, footer, templates, "digest")
