"""Web roots, which belong to clients and are untrusted, and alias directories."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from certmgr.acme.challenges.interface import ChallengeProof
from certmgr.acme.challenges.kinds import snippet
from certmgr.acme.challenges.solvers.webroot import WebRoot, split_path
from certmgr.config.acme import SolverSettings
from certmgr.demo.authority import self_signed
from inventory.errors import CertmgrError
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.servers.pebble import Pebble
from tests.servers.real import web, write_pair

PROOF = ChallengeProof("shop.test", "token-1", "token-1.thumb")


def hostile(tmp_path: Path) -> tuple[Path, Path, WebRoot]:
    """Return the client's web root, a folder that must not be written to, and the solver."""
    site, target = tmp_path / "www" / "shop.test" / "htdocs", tmp_path / "etc"
    site.mkdir(parents=True)
    target.mkdir()
    return site, target, WebRoot(str(tmp_path / "www" / "{name}" / "htdocs"))


@pytest.mark.parametrize("kind", ["webroot", "alias"])
def test_challenge_is_answered_by_nginx_and_removed(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path, opened: ExitStack, kind: str
) -> None:
    site = tmp_path / "sites" / "shop.test"
    shared = tmp_path / "shared"
    shared.mkdir()
    site.mkdir(parents=True)
    own = SolverSettings(
        kind=kind, path=str(tmp_path / "sites" / "{name}") if kind == "webroot" else str(shared)
    )
    folder = tmp_path / "nginx"
    folder.mkdir()
    pair = write_pair(folder, self_signed("shop.test"))
    plain = f"root {site};" if kind == "webroot" else snippet(own, "nginx")
    http = f"server {{ listen 127.0.0.1:{ca.http_port}; server_name shop.test; {plain} }}"
    opened.enter_context(web(folder, pair, "", "", http=http))
    env.solve(web=own)
    assert env.order(env.lineage("1001", ["shop.test"])).state == "issued"
    assert [p for p in (*site.rglob("*"), *shared.rglob("*")) if p.is_file()] == []


@pytest.mark.parametrize("where", ["root", "well-known", "acme-challenge"])
def test_link_in_a_web_root_is_not_followed(tmp_path: Path, where: str) -> None:
    site, target, solver = hostile(tmp_path)
    if where == "root":
        site.rmdir()
        site.symlink_to(target)
    elif where == "well-known":
        (site / ".well-known").symlink_to(target)
    else:
        (site / ".well-known").mkdir()
        (site / ".well-known" / "acme-challenge").symlink_to(target)
    with pytest.raises(CertmgrError, match="a link"):
        solver.present([PROOF])
    solver.clean([PROOF])
    assert list(target.iterdir()) == []


def test_link_instead_of_the_file_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    site, target, solver = hostile(tmp_path)
    victim = target / "passwd"
    victim.write_text("secret")
    folder = site / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token-1").symlink_to(victim)
    solver.present([PROOF])
    assert victim.read_text() == "secret"
    assert (folder / "token-1").read_text() == "token-1.thumb" and not (
        folder / "token-1"
    ).is_symlink()
    solver.clean([PROOF])
    assert list(folder.iterdir()) == []


def test_files_belong_to_the_owner_of_the_web_root(tmp_path: Path) -> None:
    assert os.geteuid() == 0, "the tests run as root, as CI does"
    site, _, solver = hostile(tmp_path)
    os.chown(site, 12345, 12346)
    solver.present([PROOF])
    for path in (
        site / ".well-known",
        site / ".well-known" / "acme-challenge",
        site / ".well-known" / "acme-challenge" / "token-1",
    ):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (12345, 12346)
    assert (
        stat.S_IMODE((site / ".well-known" / "acme-challenge" / "token-1").stat().st_mode) == 0o644
    )


def test_path_of_the_client_begins_at_its_name() -> None:
    assert split_path("/srv/www/{name}/htdocs", "a.test") == (
        Path("/srv/www"),
        ["a.test", "htdocs"],
    )
    assert split_path("/srv/www", "a.test") == (Path("/srv"), ["www"])


@pytest.mark.parametrize("kind", ["webroot", "alias"])
def test_web_server_can_read_the_challenge_under_a_strict_umask(tmp_path: Path, kind: str) -> None:
    site = tmp_path / "shop.test"
    site.mkdir(mode=0o755)
    before = os.umask(0o077)
    try:
        WebRoot(str(site if kind == "alias" else tmp_path / "{name}"), kind == "alias").present(
            [PROOF]
        )
    finally:
        os.umask(before)
    below = [site] if kind == "alias" else [site / ".well-known"]
    below += [] if kind == "alias" else [site / ".well-known" / "acme-challenge"]
    for folder in below:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((below[-1] / PROOF.token).stat().st_mode) == 0o644
