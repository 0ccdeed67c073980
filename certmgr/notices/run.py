"""A run of notices, and the worker that delivers them, from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any

from certmgr.config.settings import Settings
from certmgr.notices.broadcast import announcements_of
from certmgr.notices.gather import gather
from certmgr.notices.recheck import looker
from certmgr.notices.setup import MAIL, channels_of, rules_of, templates_of
from certmgr.purchases.load import leads_of
from certmgr.purchases.model import LeadTimes
from inventory.db.database import Database
from notifiers.delivery import DeliveryWorker
from notifiers.pipeline.plan import NoticePolicy
from notifiers.pipeline.run import NoticeRun, address_of
from notifiers.pipeline.thresholds import ThresholdRules
from notifiers.pipeline.topic import NoticeSource


def run_of(
    database: Database, settings: Settings, now: datetime, *, expected: int | None = None
) -> NoticeRun:
    rules = rules_of(settings)
    source = partial(
        _gather,
        database,
        rules.policy.thresholds,
        leads_of(settings),
        freeze_of(rules.policy),
        rules.zone or UTC,
        settings.cases.window_minutes,
        settings.provider.name,
    )
    return NoticeRun(
        database=database,
        gather=source,
        look=looker(database, settings),
        templates=templates_of(settings),
        config=rules,
        now=now,
        expected=expected,
        bulletins=announcements_of(database, settings, now),
    )


def freeze_of(policy: NoticePolicy) -> timedelta:
    """The longest freeze: what ends in it must be seen that much earlier."""
    return max(
        ((f.last - f.first) + timedelta(days=1) for f in policy.freezes), default=timedelta(0)
    )


def _gather(
    database: Database,
    rules: ThresholdRules,
    leads: LeadTimes,
    freeze: timedelta,
    zone: tzinfo,
    minutes: int,
    provider: str,
    now: datetime,
    told: Mapping[str, Mapping[str, Any]],
) -> NoticeSource:
    return gather(database, now, told, rules, leads, freeze, zone, minutes, provider)


def worker_of(
    database: Database, settings: Settings, *, limit: int | None = None
) -> DeliveryWorker:
    return DeliveryWorker(
        database,
        channels_of(settings.notify),
        address_of(database, MAIL, rules_of(settings)),
        database.clock,
        rate=settings.notify.rate,
        limit=limit,
    )
