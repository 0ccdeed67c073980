"""Crash scenarios: a child is killed at its first step on the file system, another one at its
second step, and so on until one completes.

After each crash, servers must read a complete version, and the next call must complete the work.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from certmgr.config.acme import TargetSettings
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import take_over_links, undo_takeover
from certmgr.deploy.targets import deploy_to_target
from tests.certmgr.deploy.certbot_place import certbot_lineage
from tests.certmgr.deploy.forks import Child, die_at, without_sync
from tests.certmgr.deploy.rig import (
    NAME,
    authority,
    leftovers,
    make_bundle,
    read_by_links,
    read_by_path,
    stored,
)

issuer = authority()
OLD, NEW = issuer.issue(NAME), issuer.issue(NAME)
OLD_BUNDLE, NEW_BUNDLE = make_bundle(OLD), make_bundle(NEW)
TRUE = ("/bin/true",)


@dataclass(slots=True)
class Scenario:
    """An action that is killed, and its invariants.

    Attributes:
        prepare: Creates the initial state in an empty folder.
        act: The action that is killed.
        check: Checks the state after any crash.
        done: Checks the state after a complete action.
    """

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    check: Callable[[Path], object]
    done: Callable[[Path], object]


def _lineage(folder: Path) -> Lineage:
    return Lineage(folder / "base", NAME)


def _nothing(folder: Path) -> None:
    """There is no version yet."""


def _old(folder: Path) -> None:
    _lineage(folder).switch(stored(_lineage(folder), OLD))


def _switch(folder: Path) -> None:
    _lineage(folder).switch(stored(_lineage(folder), NEW))


def _require_complete(folder: Path) -> str:
    """Return the live leaf. It must be one of the two, with all of its files."""
    live = folder / "base/live" / NAME
    found = read_by_path(live).sha256
    assert found in (OLD_BUNDLE.sha256, NEW_BUNDLE.sha256)
    assert (live / "combined.pem").exists()
    return found


def _require_complete_or_absent(folder: Path) -> None:
    if (folder / "base/live" / NAME / "fullchain.pem").exists():
        _require_complete(folder)


def _require_new(folder: Path) -> None:
    assert _require_complete(folder) == NEW_BUNDLE.sha256
    assert leftovers(folder) == []


def _deliver(folder: Path, target: TargetSettings) -> None:
    done = deploy_to_target(target, NAME, NEW_BUNDLE, folder / "base")
    assert done.ok, done


def _deliver_live(folder: Path) -> None:
    _deliver(folder, TargetSettings("reload", test=TRUE, reload=TRUE, settle=0.0))


def _files(folder: Path) -> TargetSettings:
    return TargetSettings("files", str(folder / "{name}"), test=TRUE, reload=TRUE, settle=0.0)


def _old_files(folder: Path) -> None:
    assert deploy_to_target(_files(folder), NAME, OLD_BUNDLE, folder / "base").ok


def _deliver_files(folder: Path) -> None:
    _deliver(folder, _files(folder))


def _require_complete_files(folder: Path) -> None:
    assert read_by_path(folder / NAME).sha256 in (OLD_BUNDLE.sha256, NEW_BUNDLE.sha256)


def _require_new_files(folder: Path) -> None:
    assert read_by_path(folder / NAME).sha256 == NEW_BUNDLE.sha256
    assert leftovers(folder) == []
    assert not (folder / NAME / "versions/trial").is_symlink()


def _pfx(folder: Path) -> TargetSettings:
    path = str(folder / "site.pfx")
    return TargetSettings("pkcs12", path=path, password="pw", test=TRUE, settle=0.0)


def _old_pfx(folder: Path) -> None:
    assert deploy_to_target(_pfx(folder), NAME, OLD_BUNDLE, folder / "base").ok


def _deliver_pfx(folder: Path) -> None:
    _deliver(folder, _pfx(folder))


def _require_complete_pfx(folder: Path) -> bytes:
    found = load_pkcs12((folder / "site.pfx").read_bytes(), b"pw")
    assert found.cert is not None
    assert found.key is not None
    der = found.cert.certificate.public_bytes(Encoding.DER)
    assert der in (OLD.der, NEW.der)
    return der


def _require_new_pfx(folder: Path) -> None:
    assert _require_complete_pfx(folder) == NEW.der
    assert [p.name for p in folder.iterdir() if p.name.startswith(".certmgr")] == []


def _with_certbot(folder: Path) -> None:
    live = certbot_lineage(folder / "letsencrypt", NAME, OLD)
    _old(folder)
    assert read_by_links(live)


def _taken_over(folder: Path) -> None:
    _with_certbot(folder)
    _take_over(folder)
    _switch(folder)


def _take_over(folder: Path) -> None:
    take_over_links(folder / "letsencrypt/live" / NAME, _lineage(folder))


def _undo(folder: Path) -> None:
    if (folder / "base/archive" / NAME / "certbot.json").exists():
        undo_takeover(_lineage(folder))


def _require_certbot_live(folder: Path, *allowed: bytes) -> None:
    """Require a complete live folder, and that no file of certbot was removed.

    While some links lead to certmgr and some to certbot, switches must be prevented.
    """
    live = folder / "letsencrypt/live" / NAME
    names = ("privkey", "cert", "chain", "fullchain")
    replaced = {str((live / f"{n}.pem").readlink()).startswith("/") for n in names}
    assert len(replaced) == 1 or _lineage(folder).hold_reason() is not None
    assert read_by_links(live).chain_der[0] in allowed
    first_key = folder / "letsencrypt/archive" / NAME / "privkey1.pem"
    assert first_key.read_bytes() == OLD.key_pem


def _require_certbot_old(folder: Path) -> None:
    _require_certbot_live(folder, OLD.der)


def _require_certbot_old_or_new(folder: Path) -> None:
    _require_certbot_live(folder, OLD.der, NEW.der)


def _require_takeover_complete(folder: Path) -> None:
    _require_certbot_old(folder)
    assert (folder / "letsencrypt/live" / NAME / "combined.pem").exists()
    _switch(folder)
    _require_certbot_live(folder, NEW.der)
    assert leftovers(folder) == []


def _require_undo_complete(folder: Path) -> None:
    live = folder / "letsencrypt/live" / NAME
    assert str((live / "privkey.pem").readlink()) == f"../../archive/{NAME}/privkey1.pem"
    assert not (live / "combined.pem").is_symlink()
    _require_certbot_old(folder)
    assert leftovers(folder) == []


def _with_many_versions(folder: Path) -> None:
    _old(folder)
    for _ in range(3):
        stored(_lineage(folder), issuer.issue(NAME))
    _switch(folder)


def _prune(folder: Path) -> None:
    _lineage(folder).prune(1)


def _require_complete_versions(folder: Path) -> None:
    _require_complete(folder)
    for version in _lineage(folder).versions():
        _lineage(folder).read(version)


def _require_pruned(folder: Path) -> None:
    # The current one, which is the newest; the previous one; the next lower one.
    assert len(_lineage(folder).versions()) == 3
    _require_new(folder)


SCENARIOS = {
    "switch": Scenario(_old, _switch, _require_complete, _require_new),
    "first": Scenario(_nothing, _switch, _require_complete_or_absent, _require_new),
    "reload": Scenario(_old, _deliver_live, _require_complete, _require_new),
    "files": Scenario(_old_files, _deliver_files, _require_complete_files, _require_new_files),
    "pkcs12": Scenario(_old_pfx, _deliver_pfx, _require_complete_pfx, _require_new_pfx),
    "prune": Scenario(_with_many_versions, _prune, _require_complete_versions, _require_pruned),
    "take-over": Scenario(
        _with_certbot, _take_over, _require_certbot_old, _require_takeover_complete
    ),
    "undo": Scenario(_taken_over, _undo, _require_certbot_old_or_new, _require_undo_complete),
}


def _killed_at(act: Callable[[Path], object], place: Path, step: int) -> Callable[[], None]:
    def run() -> None:
        die_at(step)
        act(place)

    return run


def deaths(folder: str, scenario: str) -> int:
    """Run a scenario, and return how many children were killed."""
    with without_sync():
        return _deaths(Path(folder), SCENARIOS[scenario])


def _copy(source: Path, target: Path) -> None:
    """Copy a folder with its links and modes. shutil.copytree would take most of the time."""
    target.mkdir(mode=source.stat().st_mode & 0o777)
    with os.scandir(source) as entries:
        for entry in entries:
            to = target / entry.name
            if entry.is_symlink():
                to.symlink_to(Path(entry.path).readlink())
            elif entry.is_dir():
                _copy(Path(entry.path), to)
            else:
                to.write_bytes(Path(entry.path).read_bytes())
                to.chmod(entry.stat().st_mode & 0o777)


def _deaths(folder: Path, scenario: Scenario) -> int:
    place, prepared = folder / "place", folder / "prepared"
    # The initial state is created once. Its links name "place", so that a copy is complete there.
    place.mkdir(mode=0o700)
    scenario.prepare(place)
    place.rename(prepared)
    for step in range(1, 2000):
        _copy(prepared, place)
        killed_by = Child(_killed_at(scenario.act, place, step)).ended_by()
        assert killed_by in (0, signal.SIGKILL), (step, killed_by)
        scenario.check(place)
        if killed_by:
            scenario.act(place)
        scenario.check(place)
        scenario.done(place)
        shutil.rmtree(place)
        if not killed_by:
            return step - 1
    raise AssertionError("it has no last step")


def steps(folder: str) -> Any:
    """Return the calls that write, each with the name of its file: those of store and of switch."""
    return Child(lambda: _steps(Path(folder))).result()


def _steps(folder: Path) -> dict[str, Any]:
    lineage = _lineage(folder)
    _old(folder)
    names: dict[int, str] = {}
    seen: list[tuple[str, str]] = []
    real_open = os.open

    def opened(path: Any, *arguments: Any, **named: Any) -> int:
        handle = real_open(path, *arguments, **named)
        names[handle] = Path(path).name
        return handle

    def recorded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *arguments: Any, **named: Any) -> Any:
            what = names.get(first, "?") if isinstance(first, int) else Path(first).name
            seen.append(
                (name, f"{what} -> {Path(arguments[0]).name}" if name == "rename" else what)
            )
            return real(first, *arguments, **named)

        return call

    os.open = opened
    for name in ("fsync", "rename", "fchmod", "write"):
        setattr(os, name, recorded(name, getattr(os, name)))
    version = stored(lineage, NEW)
    stored_after = len(seen)
    lineage.switch(version)
    return {"store": seen[:stored_after], "switch": seen[stored_after:], "version": version.name}
