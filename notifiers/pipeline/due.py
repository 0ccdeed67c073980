"""Find the topics that are past a threshold. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

from notifiers.pipeline.plan import DueTopic, NoticePolicy, Snapshot
from notifiers.pipeline.thresholds import DAY, CrossedThreshold, before_end, crossed, since
from notifiers.pipeline.topic import CaseFacts, Topic
from notifiers.working_days import before_freezes


def threshold(
    topic: Topic, policy: NoticePolicy, zone: tzinfo, now: datetime
) -> CrossedThreshold | None:
    """Return the most urgent threshold that the topic has crossed."""
    # The case itself decides when a reminder is due.
    if isinstance(topic.facts, CaseFacts) and (passed := topic.facts.since_days) is not None:
        # The sign marks a count since an event, so that it is ranked after every threshold before
        # an end.
        return CrossedThreshold(f"+{passed}", passed, -float(passed))
    # Without a date ahead, severe faults are repeated weekly and the others monthly.
    if (schedule := topic.schedule) is None:
        return since(topic.opened, now, 7 if topic.severity in ("critical", "high") else 30)
    # Changes are not allowed in a freeze, so the client has to be done before it begins.
    end = before_freezes(schedule.at, policy.freezes, zone) if schedule.at > now else schedule.at
    if end <= now < schedule.at:
        # Within the freeze. Thresholds after the end are counted from the real end.
        return CrossedThreshold("0", 0, (schedule.at - now) / DAY)
    thresholds, chosen = policy.thresholds.of(topic.client, topic.tags)
    return crossed(
        end,
        before_end(
            schedule.life or timedelta(days=400),
            thresholds,
            chosen=chosen,
            lead_days=schedule.lead_days,
            renewal_lead=schedule.renewal_lead,
        ),
        now,
    )


def find_due(snapshot: Snapshot, topics: Iterable[Topic], zone: tzinfo) -> list[DueTopic]:
    """Return the topics that are past a threshold."""
    due_topics = []
    for topic in topics:
        crossed_threshold = threshold(topic, snapshot.policy, zone, snapshot.now)
        # A topic that is not due yet needs no decision: it would fill the audit trail every day.
        if crossed_threshold is not None:
            due_topics.append(DueTopic(topic, crossed_threshold))
    return due_topics
