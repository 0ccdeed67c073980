"""Deaths at every step: ``python -m tests.certmgr.deploy.dying FOLDER SCENARIO`` kills a child at its first step on the file system, another at its second, and so on
until one lives to the end. After each death what servers read has to be whole, and the next call has to complete. Prints what was done as JSON.

A process of its own, with one thread: a fork copies locks that other threads hold.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certmgr.config_acme import TargetSettings
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import take_over_links, undo
from certmgr.deploy.targets import deliver
from tests.certmgr.deploy.certbot_place import certbot_lineage
from tests.certmgr.deploy.rig import NAME, authority, by_links, by_path, leftovers, material, stored

STEPS = ("open", "write", "fsync", "fchmod", "fchown", "chmod", "mkdir", "rename", "symlink", "link", "unlink", "rmdir", "close")
issuer = authority()
OLD, NEW = issuer.issue(NAME), issuer.issue(NAME)


def doom(step: int, trace: list[str] | None = None) -> None:
    """This process dies before its ``step``-th call (from 1); where that writes, half of it is written first."""
    left = step

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if trace is not None:
                trace.append(name)
            if left == 0:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in STEPS:
        setattr(os, name, wrapped(name, getattr(os, name)))


@dataclass(slots=True)
class Scenario:
    """``prepare``: the state before. ``act``: what dies. ``check``: what has to be true after any death; ``done``: what after a call that lived."""

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    check: Callable[[Path], None]
    done: Callable[[Path], None]


def _lineage(folder: Path) -> Lineage:
    return Lineage(folder / "base", NAME)


def _old(folder: Path) -> None:
    _lineage(folder).switch(stored(_lineage(folder), OLD))


def _switch(folder: Path) -> None:
    _lineage(folder).switch(stored(_lineage(folder), NEW))


def _whole(folder: Path, nothing: bool = False) -> str:
    """The leaf that is live; it has to be one of the two, whole."""
    live = folder / "base/live" / NAME
    if nothing and not (live / "fullchain.pem").exists():
        return ""
    found = by_path(live).sha256
    assert found in (material(OLD).sha256, material(NEW).sha256)
    assert (live / "combined.pem").exists()
    return found


def _is_new(folder: Path) -> None:
    assert _whole(folder) == material(NEW).sha256
    assert leftovers(folder) == []


def _delivered(folder: Path, target: TargetSettings) -> None:
    done = deliver(target, NAME, material(NEW), folder / "base")
    assert done.ok, done


def _files(folder: Path) -> TargetSettings:
    return TargetSettings("files", str(folder / "{name}"), test=("/bin/true",), reload=("/bin/true",), settle=0.0)


def _files_whole(folder: Path) -> None:
    assert by_path(folder / NAME).sha256 in (material(OLD).sha256, material(NEW).sha256)


def _files_new(folder: Path) -> None:
    assert by_path(folder / NAME).sha256 == material(NEW).sha256
    assert leftovers(folder) == []
    assert not (folder / NAME / "versions/trial").is_symlink()


def _pfx(folder: Path) -> TargetSettings:
    return TargetSettings("pkcs12", path=str(folder / "site.pfx"), password="pw", test=("/bin/true",), settle=0.0)


def _pfx_holds(folder: Path) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    found = load_pkcs12((folder / "site.pfx").read_bytes(), b"pw")
    assert found.cert is not None
    assert found.key is not None
    der = found.cert.certificate.public_bytes(Encoding.DER)
    assert der in (OLD.der, NEW.der)
    return der


def _pfx_new(folder: Path) -> None:
    assert _pfx_holds(folder) == NEW.der
    assert [p.name for p in folder.iterdir() if p.name.startswith(".certmgr")] == []


def _both(folder: Path) -> None:
    live = certbot_lineage(folder / "letsencrypt", NAME, OLD)
    _old(folder)
    assert by_links(live)


def _taken(folder: Path) -> None:
    _both(folder)
    take_over_links(folder / "letsencrypt/live" / NAME, _lineage(folder))
    _switch(folder)


def _certbots_live(folder: Path, *allowed: bytes) -> None:
    """Whole, nothing of certbot's gone; and while some links are ours and some are certbot's, nothing may be switched."""
    live = folder / "letsencrypt/live" / NAME
    ours = {str((live / f"{n}.pem").readlink()).startswith("/") for n in ("privkey", "cert", "chain", "fullchain")}
    assert len(ours) == 1 or _lineage(folder).held() is not None
    found = by_links(live)
    assert found.chain_der[0] in allowed
    assert (folder / "letsencrypt/archive" / NAME / "privkey1.pem").read_bytes() == OLD.key_pem


def _complete_take_over(folder: Path) -> None:
    _certbots_live(folder, OLD.der)
    assert (folder / "letsencrypt/live" / NAME / "combined.pem").exists()
    _switch(folder)
    _certbots_live(folder, NEW.der)
    assert leftovers(folder) == []


def _complete_undo(folder: Path) -> None:
    live = folder / "letsencrypt/live" / NAME
    assert str((live / "privkey.pem").readlink()) == f"../../archive/{NAME}/privkey1.pem"
    assert not (live / "combined.pem").is_symlink()
    _certbots_live(folder, OLD.der)
    assert leftovers(folder) == []


def _undo(folder: Path) -> None:
    if (folder / "base/archive" / NAME / "certbot.json").exists():
        undo(_lineage(folder))


def _many(folder: Path) -> None:
    _old(folder)
    for _ in range(3):
        stored(_lineage(folder), issuer.issue(NAME))
    _switch(folder)


def _pruned(folder: Path) -> None:
    assert len(_lineage(folder).versions()) == 3  # the newest, which is current; the one before; the one below
    _is_new(folder)


def _versions_whole(folder: Path) -> None:
    _whole(folder)
    for version in _lineage(folder).versions():
        _lineage(folder).read(version)


SCENARIOS = {
    "switch": Scenario(_old, _switch, lambda f: void(_whole(f)), _is_new),
    "first": Scenario(lambda f: None, _switch, lambda f: void(_whole(f, nothing=True)), _is_new),
    "reload": Scenario(
        _old, lambda f: _delivered(f, TargetSettings("reload", test=("/bin/true",), reload=("/bin/true",), settle=0.0)),
        lambda f: void(_whole(f)), _is_new,
    ),
    "files": Scenario(lambda f: void(deliver(_files(f), NAME, material(OLD), f / "base")), lambda f: _delivered(f, _files(f)), _files_whole, _files_new),
    "pkcs12": Scenario(lambda f: void(deliver(_pfx(f), NAME, material(OLD), f / "base")), lambda f: _delivered(f, _pfx(f)), lambda f: void(_pfx_holds(f)), _pfx_new),
    "prune": Scenario(_many, lambda f: void(_lineage(f).prune(1)), _versions_whole, _pruned),
    "take-over": Scenario(
        _both, lambda f: take_over_links(f / "letsencrypt/live" / NAME, _lineage(f)), lambda f: _certbots_live(f, OLD.der), _complete_take_over,
    ),
    "undo": Scenario(_taken, _undo, lambda f: _certbots_live(f, OLD.der, NEW.der), _complete_undo),
}  # fmt: skip


def void(_: object) -> None:
    """For lambdas in a table whose value nobody wants."""


def _child(act: Callable[[], None], step: int) -> int:
    """The status of a child that dies at ``step``, or lives."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    signal.alarm(60)
    code = 1
    try:
        doom(step)
        act()
        code = 0
    finally:
        os._exit(code)


def run(folder: Path, scenario: Scenario) -> int:
    """How many deaths there were."""
    for step in range(1, 2000):
        place = folder / "place"
        place.mkdir(mode=0o700)
        scenario.prepare(place)
        status = _child(lambda: scenario.act(place), step)  # noqa: B023 - called at once
        scenario.check(place)
        killed = os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL if killed else os.WEXITSTATUS(status) == 0, (step, status)
        if killed:
            scenario.act(place)
        scenario.check(place)
        scenario.done(place)
        shutil.rmtree(place)
        if not killed:
            return step - 1
    raise AssertionError("it never comes to an end")


if __name__ == "__main__":
    print(json.dumps({"deaths": run(Path(sys.argv[1]), SCENARIOS[sys.argv[2]])}))
