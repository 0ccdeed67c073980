"""One run of notices: find due topics, recheck them, decide, and queue the messages.

Nothing is written before the rechecks are over. Then one transaction writes tickets with their
references, decisions, notices with their items, and the success of the run. If the process dies
before it, nothing is stored; if it dies after it, the next worker sends the queue. The functions
that collect and recheck topics are parameters, since they belong to a higher layer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from inventory.db.database import Database
from inventory.store import jobs
from notifiers.pipeline import decide as rules
from notifiers.pipeline.alarms import Alarm, faults_of_ours, hold_alarms, oncall_alarms
from notifiers.pipeline.also_open import add_open_earlier, open_earlier
from notifiers.pipeline.due import find_due
from notifiers.pipeline.holds import check_clients, hold_mass_changes
from notifiers.pipeline.notice_settings import NoticeSettings
from notifiers.pipeline.plan import DueTopic, NoticePlan
from notifiers.pipeline.record import JOB, RunRecorder
from notifiers.pipeline.record_announcements import AnnouncementComposer
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.resolve import gone_while_held, plan_resolved
from notifiers.pipeline.run_outcome import RunOutcome
from notifiers.pipeline.snapshot import (
    Gather,
    RunBasis,
    drop_outdated,
    read_basis,
    released_tickets,
    with_released,
)
from notifiers.pipeline.topic import Recheck, RecheckState, Topic

_log = logging.getLogger(__name__)

RecheckFunction = Callable[[Sequence[Topic]], Mapping[tuple[str, str], Recheck]]
NOT_RECHECKED = Recheck(RecheckState.UNKNOWN, "it was not rechecked")


class _Rollback(Exception):
    """Ends the transaction of a dry run."""


class NoticeRun:
    """One run of notices.

    Args:
        gather: Collects the topics.
        recheck: Checks the endpoints of topics again.
        expected: The confirmed number of clients, if it is above the usual limit.
        compose_announcement: Composes the announcement to one client.
        default_channel: The channel of contacts with a mail address.
    """

    def __init__(
        self,
        database: Database,
        gather: Gather,
        recheck: RecheckFunction,
        templates: Templates,
        config: NoticeSettings,
        now: datetime,
        *,
        expected: int | None = None,
        compose_announcement: AnnouncementComposer | None = None,
        default_channel: str = "mail",
    ) -> None:
        self.database, self.gather, self.recheck = database, gather, recheck
        self.templates, self.config, self.now = templates, config, now
        self.expected, self.compose_announcement = expected, compose_announcement
        self.default_channel = default_channel

    def decide(self, *, dry_run: bool = False) -> RunOutcome:
        """Queue the notices that are due.

        Args:
            dry_run: Decide the same, and store nothing.

        Raises:
            inventory.errors.Busy: Another run is deciding.
        """
        with jobs.alone(self.database, JOB):
            # A dry run must not drop what waits in the queue.
            if not dry_run:
                drop_outdated(self.database, self.now)
            recorder = self._decide()
            try:
                with self.database.write(self.now) as tx:
                    recorder.write(tx)
                    if dry_run:
                        # A dry run runs the same transaction, so that it shows the same result.
                        raise _Rollback
            except _Rollback:
                pass
            outcome = recorder.outcome
            _log.info("%d notices queued, %d topics held", outcome.queued, outcome.held)
            return outcome

    def _decide(self) -> RunRecorder:
        """Return everything that the transaction of the run writes. Nothing is written before."""
        basis = read_basis(self.database, self.now, self.config, self.gather)
        source, plan = basis.source, NoticePlan()
        released = released_tickets(basis)
        snapshot = with_released(basis.snapshot, released)
        _log.info("%d topics to decide", len(source.topics))
        due_topics = find_due(snapshot, source.topics, self.config.zone)
        # Before the rechecks: the endpoints of a broken run are not probed by the hundred.
        mass = hold_mass_changes(
            snapshot,
            rules.candidates(snapshot, due_topics, plan),
            list(source.ended.values()),
            plan,
            policy=self.config.policy,
            all_clients=source.clients,
            last_run=int(basis.state.detail.get("run_id") or 0),
        )
        earlier = open_earlier(snapshot, due_topics, {d.topic.client_id for d in mass.due})
        resolved = [e.topic for e in mass.ended if e.resolved and e.topic is not None]
        rechecks = self._rechecks(
            [*(d.topic for d in mass.due), *resolved, *(d.topic for d in earlier)],
            held=bool(snapshot.hold_reason),
        )
        rules.plan(snapshot, mass.due, rechecks, plan)
        closing = plan_resolved(snapshot, mass.ended, rechecks, plan)
        closing += gone_while_held(snapshot, basis.unnotified, source.topics)
        outcome = RunOutcome(baseline=snapshot.baseline, hold=snapshot.hold_reason)
        checked = check_clients(
            snapshot,
            plan,
            confirm_above=self.config.confirm_above,
            expected=self.expected,
        )
        outcome.clients, outcome.unconfirmed = checked.clients, checked.unconfirmed
        # Last, because it completes only messages that are really sent.
        add_open_earlier(snapshot, _unchanged(earlier, rechecks), plan)
        alarms = hold_alarms(
            snapshot, source, mass_clients=mass.clients, unconfirmed=outcome.unconfirmed
        )
        return RunRecorder(
            now=self.now,
            config=self.config,
            templates=self.templates,
            default_channel=self.default_channel,
            compose_announcement=self.compose_announcement,
            snapshot=snapshot,
            plan=plan,
            source=source,
            alarms=[*alarms, *self._oncall_alarms(basis, due_topics)],
            state=basis.state,
            outcome=outcome,
            released=released.ids,
            closing=closing,
            spent=released.spent,
            checked=checked,
        )

    def _rechecks(self, topics: list[Topic], *, held: bool) -> dict[tuple[str, str], Recheck]:
        """Return the recheck of each topic by its key and revision."""
        # While messages are held, nothing is sent, so the servers of clients are left alone.
        if held:
            return {t.mark: Recheck(RecheckState.SAME, "") for t in topics}
        return dict(self.recheck(topics)) if topics else {}

    def _oncall_alarms(self, basis: RunBasis, due_topics: Sequence[DueTopic]) -> list[Alarm]:
        """Return the alarms about new critical faults of ours."""
        # From the state before the releases: an alarm does not depend on what clients may read.
        causes = faults_of_ours(basis.snapshot, due_topics)
        if not causes:
            return []
        with self.database.read() as conn:
            return oncall_alarms(conn, causes)


def _unchanged(
    due_topics: Sequence[DueTopic], rechecks: Mapping[tuple[str, str], Recheck]
) -> list[DueTopic]:
    """Return the topics that a recheck confirmed.

    A message lists no earlier site that was fixed since the scan.
    """
    return [
        d
        for d in due_topics
        if rechecks.get(d.topic.mark, NOT_RECHECKED).state is RecheckState.SAME
    ]
