"""Versions and the links to them: storing, switching, trials, rollback, and pruning."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from inventory.errors import CertmgrError
from tests.certmgr.deploy.rig import NAME, read_by_path, stored


def test_leaf_that_is_stored_is_not_stored_twice(lineage: Lineage, issuer: Authority) -> None:
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    first = stored(lineage, one)
    assert stored(lineage, one) == first
    second = stored(lineage, two)
    assert second.number == 2
    assert stored(lineage, one) == first
    assert lineage.versions() == [first, second]


def test_damaged_version_is_stored_again_and_not_switched_to(
    lineage: Lineage, issuer: Authority
) -> None:
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    stored(lineage, one)
    second = stored(lineage, two)
    (lineage.archive / second.name / "privkey.pem").write_bytes(one.key_pem)
    third = stored(lineage, two)
    assert third.number == 3, "a damaged version is not used"
    with pytest.raises(CertmgrError, match="cannot be used"):
        lineage.switch(second)
    assert lineage.current() is None


def test_prune_keeps_the_current_and_the_previous_version(
    lineage: Lineage, issuer: Authority
) -> None:
    versions = [stored(lineage, issuer.issue(NAME)) for _ in range(8)]
    lineage.switch(versions[1])
    lineage.switch(versions[3])
    assert lineage.previous() == versions[1]
    gone = lineage.prune(2, protect=[versions[4]])
    assert gone == [versions[0], versions[5]]
    assert lineage.versions() == [versions[i] for i in (1, 2, 3, 4, 6, 7)]
    assert read_by_path(lineage.live).sha256[:12] == versions[3].digest
    assert stored(lineage, issuer.issue(NAME)).number == 9


def test_previous_version_skips_one_that_was_rolled_back(
    lineage: Lineage, issuer: Authority
) -> None:
    """1 is good, 2 is bad and rolled back, 3 is new: the previous version of 3 is 1, not 2."""
    one, two = (stored(lineage, issuer.issue(NAME)) for _ in range(2))
    lineage.switch(one)
    lineage.rollback(lineage.switch(two))
    three = stored(lineage, issuer.issue(NAME))
    lineage.switch(three)
    assert lineage.previous() == one
    assert lineage.prune(1) == []


def test_trial_that_died_still_knows_the_version_to_restore(
    lineage: Lineage, issuer: Authority
) -> None:
    one, two = (stored(lineage, issuer.issue(NAME)) for _ in range(2))
    lineage.attempt(one)
    lineage.commit()
    assert lineage.attempt(two) == one
    again = Lineage(lineage.base, NAME)
    assert again.attempt(two) == one, "the process died before the test was over"
    lineage.rollback(one)
    assert lineage.current() == one
    assert lineage.attempt(two) == one
    lineage.commit()
    assert lineage.attempt(two) == two, "committed: a failed test has nothing to undo"


def test_link_that_leads_elsewhere_is_not_changed(lineage: Lineage, issuer: Authority) -> None:
    lineage.live.mkdir(parents=True)
    for folder in (lineage.live, lineage.live.parent, lineage.base):
        folder.chmod(0o700)
    (lineage.live / "cert.pem").symlink_to("../../archive/x/cert1.pem")
    lineage.switch(stored(lineage, issuer.issue(NAME)))
    assert str((lineage.live / "cert.pem").readlink()) == "../../archive/x/cert1.pem"
    key = str((lineage.live / "privkey.pem").readlink())
    assert key == f"../../archive/{NAME}/current/privkey.pem"


@pytest.mark.parametrize("kind", ["folder", "link to elsewhere"])
def test_current_that_is_not_a_link_to_a_version_stops_switching_and_reading(
    lineage: Lineage, issuer: Authority, kind: str
) -> None:
    version = stored(lineage, issuer.issue(NAME))
    current: Path = lineage.archive / "current"
    if kind == "folder":
        current.mkdir()
    else:
        current.symlink_to("/etc")
    with pytest.raises(CertmgrError, match="not a link to a version"):
        lineage.switch(version)
    with pytest.raises(CertmgrError, match="not a link to a version"):
        lineage.read_current()
