"""Build a run of notices, and the worker that delivers them, from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from certmgr.config.context import Context
from certmgr.notices.broadcast import announcements_of
from certmgr.notices.gather import TopicRules, gather
from certmgr.notices.recheck import rechecker
from certmgr.notices.setup import MAIL, channels_of, rules_of, templates_of
from certmgr.purchases.load import lead_times
from inventory.db.database import Database
from inventory.records import TicketRecord
from notifiers.delivery import DeliveryWorker
from notifiers.pipeline.notice_source import NoticeSource
from notifiers.pipeline.plan import NoticePolicy
from notifiers.pipeline.run import NoticeRun
from notifiers.pipeline.send_address import address_of


def run_of(context: Context, *, expected: int | None = None) -> NoticeRun:
    """Return a run of notices.

    Args:
        expected: The confirmed number of clients, if it is above the usual limit.
    """
    # One time for the run, so that all its decisions are about the same moment.
    context, settings = context.frozen(), context.settings
    rules = rules_of(settings)
    # The run belongs to a lower layer, so it gets the inventory as a function.
    source = partial(
        _gather,
        context.database,
        TopicRules(
            thresholds=rules.policy.thresholds,
            leads=lead_times(settings),
            freeze=freeze_of(rules.policy),
            zone=rules.zone,
            window_minutes=settings.cases.window_minutes,
            provider=settings.provider.name,
        ),
    )
    return NoticeRun(
        database=context.database,
        gather=source,
        recheck=rechecker(context),
        templates=templates_of(settings),
        config=rules,
        now=context.now(),
        expected=expected,
        # Announcements are composed on the day of their release, from the state of that day.
        compose_announcement=announcements_of(context),
    )


def freeze_of(policy: NoticePolicy) -> timedelta:
    """Return the length of the longest freeze. What ends in it must be known that much earlier."""
    return max(
        ((f.last - f.first) + timedelta(days=1) for f in policy.freezes), default=timedelta(0)
    )


def _gather(
    database: Database, rules: TopicRules, now: datetime, notified: Mapping[str, TicketRecord]
) -> NoticeSource:
    return gather(database, now, notified, rules)


def worker_of(
    context: Context, *, limit: int | None = None, seconds: float = 0.0
) -> DeliveryWorker:
    """Return the worker for all configured channels.

    Args:
        limit: At most this many messages per channel.
        seconds: No message is begun after this time; 0: no limit.
    """
    database, settings = context.database, context.settings
    return DeliveryWorker(
        database,
        channels_of(settings.notify),
        # The rules give the calendar of each client, for quiet hours at the time of sending.
        address_of(database, MAIL, rules_of(settings)),
        context.clock,
        rate=settings.notify.rate,
        limit=limit,
        seconds=seconds,
    )
