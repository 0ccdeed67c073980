"""The takeover from certbot: its schedules, and its links, which are replaced one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from certmgr.config.acme import TargetSettings
from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import (
    take_over_links,
    undo_takeover,
)
from certmgr.deploy.targets import TargetResult, deploy_to_target
from certmgr.x509.bundle import CertificateBundle
from inventory.errors import CertmgrError, UsageError
from tests.certmgr.deploy.certbot_place import certbot_lineage, content
from tests.certmgr.deploy.rig import NAME, make_bundle, read_by_links, stored


def deliver_live(lineage: Lineage, new: CertificateBundle) -> TargetResult:
    """Deploy a certificate to the live folder."""
    target = TargetSettings("reload", reload=("/bin/true",), settle=0.0)
    return deploy_to_target(target, NAME, new, lineage.base)


@pytest.mark.parametrize("inside", [False, True], ids=["a separate base", "in certbot's folder"])
def test_links_are_taken_over_used_and_restored(
    tmp_path: Path, base: Path, issuer: Authority, inside: bool
) -> None:
    issued = issuer.issue(NAME)
    live = certbot_lineage(base, NAME, issued)
    before = content(base)
    others = {n: d for n, d in before.items() if not n.startswith(f"live/{NAME}/")}
    lineage = Lineage(base if inside else tmp_path / "ours", NAME)
    lineage.switch(stored(lineage, issued))
    for _ in range(2):
        take_over_links(live, lineage)
        assert read_by_links(live).sha256 == make_bundle(issued).sha256
        assert (live / "combined.pem").read_bytes() == issued.key_pem + issued.chain_pem
    assert lineage.hold_reason() is None
    assert not live.is_symlink()
    archive = f"../../archive/{NAME}" if inside else str(lineage.archive)
    assert str((live / "privkey.pem").readlink()) == f"{archive}/current/privkey.pem"
    new = make_bundle(issuer.issue(NAME))
    assert deliver_live(lineage, new).ok
    assert read_by_links(live).sha256 == new.sha256
    after = content(base)
    assert {n: after.get(n) for n in others} == others, "no other file of certbot is changed"
    undo_takeover(lineage)
    restored = content(base)
    assert {n: restored.get(n) for n in before} == before
    assert not (live / "combined.pem").exists()
    with pytest.raises(UsageError, match="Nothing of certbot was taken over"):
        undo_takeover(lineage)
    take_over_links(live, lineage)
    assert read_by_links(live).sha256 == make_bundle(issued).sha256


def test_takeover_with_another_certificate_is_refused(
    tmp_path: Path, base: Path, issuer: Authority
) -> None:
    live = certbot_lineage(base, NAME, issuer.issue(NAME))
    lineage = Lineage(tmp_path / "ours", NAME)
    before = content(base)
    with pytest.raises(CertmgrError, match="no certificate in use yet"):
        take_over_links(live, lineage)
    lineage.switch(stored(lineage, issuer.issue(NAME)))
    with pytest.raises(CertmgrError, match="has another certificate than certmgr"):
        take_over_links(live, lineage)
    assert content(base) == before
    assert lineage.hold_reason() is None


def test_folder_without_certbots_layout_is_not_changed(
    tmp_path: Path, base: Path, issuer: Authority
) -> None:
    issued = issuer.issue(NAME)
    live = certbot_lineage(base, NAME, issued)
    lineage = Lineage(tmp_path / "ours", NAME)
    lineage.switch(stored(lineage, issued))
    (live / "cert.pem").unlink()
    (live / "cert.pem").write_bytes(b"copied here by hand")
    with pytest.raises(UsageError, match=r"cert\.pem is not a link"):
        take_over_links(live, lineage)
    (tmp_path / "link").symlink_to(live)
    for path in (tmp_path / "link", tmp_path / "none"):
        with pytest.raises(UsageError, match="is not a live folder of certbot"):
            take_over_links(path, lineage)


def test_nothing_is_switched_while_links_are_replaced(
    tmp_path: Path, base: Path, issuer: Authority
) -> None:
    """A process died during the takeover.

    After a switch in this state, a server would read the key of one version and the certificate of
    another.
    """
    issued = issuer.issue(NAME)
    live = certbot_lineage(base, NAME, issued)
    lineage = Lineage(tmp_path / "ours", NAME)
    lineage.switch(stored(lineage, issued))
    lineage.hold("the links of certbot are being replaced")
    done = deliver_live(lineage, make_bundle(issuer.issue(NAME)))
    assert (done.ok, done.retry) == (False, True)
    assert "being replaced" in done.message
    take_over_links(live, lineage)
    assert deliver_live(lineage, make_bundle(issuer.issue(NAME))).ok
    record = json.loads((lineage.archive / "certbot.json").read_text())
    assert record["links"]["cert.pem"] == f"../../archive/{NAME}/cert1.pem"
