"""The result of ``certmgr diagnose`` as JSON (``certmgr.diagnose/1``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from certmgr.cli.history import entry_document
from certmgr.cli.output import (
    epoch_text,
    instant,
)
from certmgr.cli.planned import plan_document
from certmgr.diagnose.notice_status import topic_of

if TYPE_CHECKING:
    from certmgr.diagnose.context import HostContext
    from certmgr.diagnose.examination import Diagnosis

# The newest events that a diagnosis shows.
HISTORY_SHOWN = 12


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as a JSON document."""
    # This is the client's version of the outcome, without names of other clients.
    context, outcome = diagnosis.context, diagnosis.outcome
    return {
        "schema": "certmgr.diagnose/1",
        "url": diagnosis.url,
        "context": None if context is None else _context(context, diagnosis.changes),
        "steps": [{"step": s.name, "state": s.state, "text": s.text} for s in diagnosis.steps],
        "chrome": diagnosis.shown,
        "outcome": outcome.outcome,
        "code": outcome.code or None,
        "reference": diagnosis.reference or None,
        "cause": outcome.cause or None,
        "who": outcome.who,
        "instruction": outcome.instruction or None,
        "person": outcome.person or None,
        "by": instant(outcome.by),
        "addresses": list(outcome.partial),
        "planned": plan_document(diagnosis.planned),
        "message": diagnosis.message,
        "questions": [{"question": q, "meaning": m} for q, m in diagnosis.questions],
        "escalation": diagnosis.escalation if outcome.outcome == "escalated" else None,
        "findings": [
            {
                "code": f.code,
                "severity": str(f.severity),
                "actor": str(f.actor),
                "addresses": list(f.addresses),
            }
            for f in diagnosis.findings
        ],
    }


def _context(context: HostContext, changes: Sequence[str]) -> dict[str, Any]:
    """Return what the inventory knows of the host, and what changed there."""
    return {
        "client": context.client,
        "client_name": context.client_name,
        "account_manager": context.account_manager,
        "domain": context.domain,
        "server": context.server,
        "renewal": context.renewal,
        "open": [{"code": f.code, "since": instant(s)} for f, s in context.open],
        # Older than the word "notice"; programs read this key.
        "told": [
            {
                "notice": t.id,
                "reference": t.reference,
                "outcome": t.outcome,
                "state": t.state,
                "subject": t.subject,
                "sent_at": epoch_text(t.sent_at),
                "acknowledged_at": epoch_text(t.acked_at),
                "to": t.sent_to or t.contact,
                "error": t.error,
            }
            for t in context.notices
        ],
        "held": [
            {
                "topic": topic_of(h.subject),
                "action": h.action,
                "reason": h.reason,
                "since": epoch_text(h.first_at),
            }
            for h in context.held
        ],
        "history": [entry_document(e) for e in context.history[-HISTORY_SHOWN:]],
        "last_good": instant(context.last_good),
        "changes": list(changes),
    }
