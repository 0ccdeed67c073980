"""What the doctor reports of cases: keys that cannot be used, and overdue cases."""

from __future__ import annotations

from certmgr.cases.health import examine
from certmgr.demo.authority import Authority
from tests.certmgr.cases.place import CaseEnvironment


def reported(env: CaseEnvironment) -> dict[str, str]:
    return {state: what for state, what, _ in examine(env.context)}


def test_key_that_others_can_read_or_is_missing_and_overdue_case_are_reported(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, _ = env.ready(issuer)
    assert set(reported(env)) == {"ok"}
    path = env.service.keys.path(reference, "ec-p256")
    path.chmod(0o640)
    assert reported(env)["fault"] == f"{reference}: other users can read its key {path}"
    path.unlink()
    env.pass_(days=30)
    assert "cannot be read" in reported(env)["fault"]
    assert "1 of 1 open cases are overdue" in reported(env)["warning"]
