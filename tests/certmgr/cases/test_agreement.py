"""Approval and installation window of a case."""

from __future__ import annotations

import pytest

from certmgr.cases import agreement, installation
from certmgr.cases.states import CaseAction
from certmgr.demo.authority import Authority
from inventory.errors import UsageError
from tests.certmgr.cases.place import CaseEnvironment


def test_window_needs_the_approval_of_the_client_or_a_reason(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = env.ready(issuer)
    with pytest.raises(UsageError, match="client has not approved"):
        agreement.agree_window(env.service, reference, "2026-11-26T10:00")
    row, _ = agreement.agree_window(
        env.service, reference, "2026-11-26T10:00", text="the CA revokes tonight"
    )
    assert row.state == "window-agreed"


def test_window_after_a_reopening_is_newer_than_the_previous_one(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = env.ready(issuer)
    agreement.agree_window(env.service, reference, "2026-11-26T10:00", text="x")
    installation.mark_installed(env.service, reference)
    row = env.service.end(reference, CaseAction.REOPEN, "wrong server")
    assert row.installed_at is None
    assert (row.window_state, row.window_sequence) == ("cancelled", 1), "it is in the future"
    row, _ = agreement.agree_window(env.service, reference, "2026-11-27T10:00", text="x")
    assert row.window_sequence == 2, "a calendar ignores an entry that is not newer"
    env.pass_(days=3)
    installation.mark_installed(env.service, reference)
    row = env.service.end(reference, CaseAction.REOPEN, "wrong server")
    assert (row.window_state, row.window_sequence) == ("none", 2), "it is over"
