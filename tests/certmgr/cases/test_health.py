"""What the doctor reports of cases: keys that cannot be used, and overdue cases."""

from __future__ import annotations

from certmgr.cases.health import examine
from certmgr.demo.authority import Authority
from tests.certmgr.cases.place import Place


def reported(place: Place) -> dict[str, str]:
    return {state: what for state, what, _ in examine(place.database, place.settings, place.now)}


def test_key_that_others_can_read_or_is_missing_and_overdue_case_are_reported(
    place: Place, issuer: Authority
) -> None:
    reference, _ = place.ready(issuer)
    assert set(reported(place)) == {"ok"}
    path = place.desk.keys.path(reference, "ec-p256")
    path.chmod(0o640)
    assert reported(place)["fault"] == f"{reference}: its key {path} can be read by others"
    path.unlink()
    place.pass_(days=30)
    assert "cannot be read" in reported(place)["fault"]
    assert "1 of 1 open cases are overdue" in reported(place)["warning"]
