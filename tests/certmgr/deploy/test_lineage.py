"""Version directories: what is laid where, what is refused, and that readers see one version whole at every moment."""

from __future__ import annotations

import grp
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority, self_signed
from certmgr.deploy.disk import modes
from certmgr.deploy.lineage import Lineage
from inventory.errors import Busy, CertmgrError, UsageError
from tests.certmgr.deploy.rig import NAME, by_path, ders, leftovers, stored
from tests.clock import clock

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "name",
    ["../../etc", "/", ".", "..", "", "a/b", "-x", "a" * 201, "a\0b", "a\nb", "a\x1b[31mb", "a b", "a..b", "a.", "*.example.com", "$(id)", ".hidden", "ä"],
)  # fmt: skip
def test_a_name_that_is_no_safe_word_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Lineage(tmp_path / "base", name)
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("name", ["shop.example.com", "shop.example.com-0001", "xn--e1afmkfd.example", "_x", "a" * 200])
def test_names_as_certbot_gives_them_are_taken(tmp_path: Path, name: str) -> None:
    assert Lineage(tmp_path, name).current() is None


def test_the_layout_is_certbots_and_only_ours_to_read(lineage: Lineage, issuer: Authority) -> None:
    issued = issuer.issue(NAME)
    version = stored(lineage, issued)
    assert lineage.current() is None, "stored is not switched"
    assert lineage.switch(version) is None
    assert version.name.startswith("000001-")
    assert str((lineage.archive / "current").readlink()) == version.name
    for name in ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem"):
        assert str((lineage.live / name).readlink()) == f"../../archive/{NAME}/current/{name}"
        assert stat.S_IMODE((lineage.archive / version.name / name).stat().st_mode) == 0o600
    assert not lineage.live.is_symlink()
    for folder in (
        lineage.base,
        lineage.base / "archive",
        lineage.archive,
        lineage.archive / version.name,
        lineage.base / "live",
        lineage.live,
    ):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    read = by_path(lineage.live)
    assert read.key_pem == issued.key_pem
    assert read.chain_der == tuple(ders(issued))
    assert (lineage.live / "combined.pem").read_bytes() == issued.key_pem + issued.chain_pem


def test_a_leaf_that_is_there_is_not_stored_twice(lineage: Lineage, issuer: Authority) -> None:
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    first = stored(lineage, one)
    assert stored(lineage, one) == first
    second = stored(lineage, two)
    assert second.number == 2
    assert stored(lineage, one) == first
    assert lineage.versions() == [first, second]
    (lineage.archive / second.name / "privkey.pem").write_bytes(one.key_pem)
    third = stored(lineage, two)
    assert third.number == 3, "a damaged version is not taken for the leaf"
    with pytest.raises(CertmgrError, match="cannot be used"):
        lineage.switch(second)
    assert lineage.current() is None


def test_a_clients_own_key_leaves_no_files_for_it(lineage: Lineage, issuer: Authority) -> None:
    lineage.switch(lineage.store(None, ders(issuer.issue(NAME))))
    assert sorted(p.name for p in lineage.live.iterdir()) == ["cert.pem", "chain.pem", "fullchain.pem"]
    current = lineage.read_current()
    assert current is not None
    assert current.key_pem is None


@pytest.mark.parametrize(
    "fault", ["another key", "a foreign chain", "an order that is wrong", "no certificate", "no key", "damaged", "encrypted"]
)
def test_what_does_not_belong_together_is_not_written(lineage: Lineage, issuer: Authority, fault: str) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    one, two = issuer.issue(NAME), Authority("Other", Authority("Other Root", clock=clock)).issue(NAME)
    key: bytes = one.key_pem
    chain = ders(one)
    match fault:
        case "another key":
            key = two.key_pem
        case "a foreign chain":
            chain = [chain[0], ders(two)[1]]
        case "an order that is wrong":
            chain.reverse()
        case "no certificate":
            chain = []
        case "no key":
            key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        case "damaged":
            chain[0] = chain[0][:-40]
        case _:
            key = one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    with pytest.raises(CertmgrError, match="Nothing was written"):
        lineage.store(key, chain)
    assert not lineage.base.exists()


def test_a_self_signed_leaf_alone_is_a_chain(lineage: Lineage) -> None:
    issued = self_signed(NAME, clock=clock)
    lineage.switch(stored(lineage, issued))
    assert by_path(lineage.live).sha256


def test_prune_spares_the_current_one_and_the_one_before(lineage: Lineage, issuer: Authority) -> None:
    versions = [stored(lineage, issuer.issue(NAME)) for _ in range(8)]
    lineage.switch(versions[1])
    lineage.switch(versions[3])
    assert lineage.before() == versions[1]
    gone = lineage.prune(2, protect=[versions[4]])
    assert gone == [versions[0], versions[5]]
    assert lineage.versions() == [versions[i] for i in (1, 2, 3, 4, 6, 7)]
    assert by_path(lineage.live).sha256[:12] == versions[3].digest
    assert stored(lineage, issuer.issue(NAME)).number == 9


def test_going_back_after_a_roll_back_is_possible(lineage: Lineage, issuer: Authority) -> None:
    """1 good, 2 bad and taken back, 3 new: from 3 the way back is 1, not 2."""
    one, two = (stored(lineage, issuer.issue(NAME)) for _ in range(2))
    lineage.switch(one)
    lineage.back(lineage.switch(two))
    three = stored(lineage, issuer.issue(NAME))
    lineage.switch(three)
    assert lineage.before() == one
    assert lineage.prune(1) == []


def test_a_trial_that_died_knows_the_way_back(lineage: Lineage, issuer: Authority) -> None:
    one, two = (stored(lineage, issuer.issue(NAME)) for _ in range(2))
    lineage.attempt(one)
    lineage.settle()
    assert lineage.attempt(two) == one
    assert Lineage(lineage.base, NAME).attempt(two) == one, "the process died before the test was over"
    lineage.back(one)
    assert lineage.current() == one
    assert lineage.attempt(two) == one
    lineage.settle()
    assert lineage.attempt(two) == two, "settled: a test that fails now has nothing to undo"


def test_a_link_that_leads_elsewhere_is_left_alone(lineage: Lineage, issuer: Authority, tmp_path: Path) -> None:
    lineage.live.mkdir(parents=True)
    for folder in (lineage.live, lineage.live.parent, lineage.base):
        folder.chmod(0o700)
    (lineage.live / "cert.pem").symlink_to("../../archive/x/cert1.pem")
    lineage.switch(stored(lineage, issuer.issue(NAME)))
    assert str((lineage.live / "cert.pem").readlink()) == "../../archive/x/cert1.pem"
    assert str((lineage.live / "privkey.pem").readlink()) == f"../../archive/{NAME}/current/privkey.pem"


def test_a_current_that_is_no_link_of_ours_stops_it(lineage: Lineage, issuer: Authority) -> None:
    version = stored(lineage, issuer.issue(NAME))
    (lineage.archive / "current").mkdir()
    with pytest.raises(CertmgrError, match="not a link to a version"):
        lineage.switch(version)
    (lineage.archive / "current").rmdir()
    (lineage.archive / "current").symlink_to("/etc")
    with pytest.raises(CertmgrError, match="not a link to a version"):
        lineage.read_current()


def test_nothing_is_written_where_somebody_else_could_exchange_folders(tmp_path: Path, issuer: Authority) -> None:
    """For root that is true of every folder above as well; and of one that is another user's."""
    cases = [(tmp_path / "open", tmp_path / "open", 0o777, os.geteuid())]
    if os.geteuid() == 0:
        cases += [
            (tmp_path / "client", tmp_path / "client/base", 0o755, 1234),
            (tmp_path / "group", tmp_path / "group/base", 0o775, 0),
        ]
    for folder, base, mode, owner in cases:
        folder.mkdir()
        folder.chmod(mode)
        os.chown(folder, owner, -1)
        with pytest.raises(CertmgrError, match="Nothing is written below"):
            stored(Lineage(base, NAME), issuer.issue(NAME))
        assert list(folder.iterdir()) == []


def test_a_group_reaches_the_files_and_cannot_exchange_them(lineage: Lineage, issuer: Authority) -> None:
    """As root a process of that group tries; for everybody else there is one group to give, and the modes are read."""
    issued = issuer.issue(NAME)
    group = "daemon" if os.geteuid() == 0 else grp.getgrgid(os.getegid()).gr_name
    version = lineage.store(issued.key_pem, ders(issued), modes=modes("", group, "0640"))
    lineage.switch(version)
    assert stat.S_IMODE((lineage.live / "privkey.pem").stat().st_mode) == 0o640
    assert stat.S_IMODE((lineage.archive / version.name).stat().st_mode) == 0o750
    assert stat.S_IMODE(lineage.base.stat().st_mode) == 0o711
    if os.geteuid() == 0:
        for folder in lineage.base.parents:
            if "pytest" in str(folder):
                folder.chmod(0o711)
        read = ["/usr/bin/env", "cat", str(lineage.live / "privkey.pem")]
        write = ["/usr/bin/env", "touch", str(lineage.archive / version.name / "x")]
        for command, who, good in ((read, "daemon", True), (read, "nogroup", False), (write, "daemon", False)):
            done = subprocess.run(command, user="nobody", group=who, extra_groups=[], capture_output=True)
            assert (done.returncode == 0) is good, (command, who, done)


def test_one_lock_for_threads_and_processes_and_again_for_its_holder(lineage: Lineage, issuer: Authority) -> None:
    from threading import Thread

    stored(lineage, issuer.issue(NAME))
    failures: list[Exception] = []

    def wait() -> None:
        try:
            with lineage.lock(0.1):
                pass
        except Busy as error:
            failures.append(error)

    code = f"from pathlib import Path\nfrom certmgr.deploy.lineage import Lineage\nwith Lineage(Path({str(lineage.base)!r}), 'other').lock(0.1): pass"
    with lineage.lock(), lineage.lock():
        thread = Thread(target=wait)
        thread.start()
        thread.join()
        assert len(failures) == 1
        done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
        assert "Busy" in done.stderr
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_a_forked_child_neither_has_the_lock_nor_keeps_it(lineage: Lineage, issuer: Authority) -> None:
    stored(lineage, issuer.issue(NAME))
    (told, tell), (ready, go) = os.pipe(), os.pipe()
    with lineage.lock():
        pid = os.fork()
        if pid == 0:
            try:
                with lineage.lock(0.1):
                    os.write(tell, b"l")
            except BaseException as error:  # noqa: BLE001, RUF100
                os.write(tell, b"b" if isinstance(error, Busy) else b"?")
            os.read(ready, 1)  # lives on
            os._exit(0)
        answer = os.read(told, 1)
    try:
        with lineage.lock(5):
            pass
    finally:
        os.write(go, b"x")
        os.waitpid(pid, 0)
        for descriptor in (told, tell, ready, go):
            os.close(descriptor)
    assert answer == b"b"


# -- a disk that does not take it --------------------------------------------------------------------------------------


def full_disk(lineage: Lineage, issued: list[bytes], key: bytes, limit: int) -> list[str]:
    """What store and switch say where no file may have more than ``limit`` bytes; in a child, since the limit is the process's."""
    pid_read, pid_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = ["none"]
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            lineage.switch(lineage.store(key, issued))
        except CertmgrError as error:
            said = [error.what, error.why, error.todo]
        except BaseException as error:  # noqa: BLE001, RUF100
            said = [repr(error)]
        os.write(pid_write, json.dumps(said).encode())
        os._exit(0)
    os.close(pid_write)
    with os.fdopen(pid_read) as stream:
        answer: list[str] = json.loads(stream.read())
    os.waitpid(pid, 0)
    return answer


@pytest.mark.parametrize("limit", [0, 100, 1000])
def test_a_full_disk_leaves_the_version_before_and_says_so_once(lineage: Lineage, issuer: Authority, limit: int) -> None:
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    lineage.switch(stored(lineage, one))
    said = full_disk(lineage, ders(two), two.key_pem, limit)
    assert said[0].startswith(f"The new version of '{NAME}' cannot be written"), said
    assert said[1].startswith("File too large")
    assert said[2].startswith("Free some space")
    assert by_path(lineage.live).chain_der == tuple(ders(one))
    assert len(lineage.versions()) == 1
    assert leftovers(lineage.base) == []
    lineage.switch(stored(lineage, two))
    assert by_path(lineage.live).chain_der == tuple(ders(two))


def test_a_read_only_folder_leaves_the_version_before_and_says_so_once(lineage: Lineage, issuer: Authority) -> None:
    """As root a mode stops nothing, so that a read-only mount does; else the mode."""
    one, two = issuer.issue(NAME), issuer.issue(NAME)
    first = stored(lineage, one)
    lineage.switch(first)
    second = stored(lineage, two)
    with _read_only(lineage.archive):
        with pytest.raises(CertmgrError, match=r"cannot be switched|cannot be written") as caught:
            lineage.switch(second)
        assert "version before is in use" in str(caught.value)
        with pytest.raises(CertmgrError, match="cannot be written"):
            stored(lineage, issuer.issue(NAME))
        assert by_path(lineage.live).chain_der == tuple(ders(one))
    assert lineage.switch(second) == first


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """For root by the attribute of an immutable folder or a mount, whichever this machine allows: one of them has to work."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        undo = ["chmod", "700", str(folder)]
    elif subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True).returncode == 0:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        undo = ["umount", str(folder)]
    else:
        subprocess.run(["chattr", "+i", str(folder)], check=True)
        undo = ["chattr", "-i", str(folder)]
    try:
        yield
    finally:
        subprocess.run(undo, check=True)


# -- readers under constant switching ----------------------------------------------------------------------------------

READER = """
import json, os, sys
from pathlib import Path
from certmgr.deploy.material import checked, from_files
from certmgr.deploy.lineage import Lineage
from inventory.certificates import from_pem
base, name, how, stop = sys.argv[1:]
lineage = Lineage(Path(base), name)
known, reads, bad, seen = {}, 0, 0, set()
print("ready", flush=True)
while not os.path.exists(stop):
    reads += 1
    try:
        if how == "combined":
            data = (lineage.live / "combined.pem").read_bytes()
            if data not in known:
                known[data] = checked(data[: data.index(b"-----BEGIN CERT")], [c.der for c in from_pem(data)]).sha256
            seen.add(known[data])
        else:
            seen.add(lineage.read_current().sha256)
    except Exception as error:
        bad += 1
        print(repr(error), file=sys.stderr)
print(json.dumps({"reads": reads, "bad": bad, "seen": len(seen)}))
"""


def test_readers_never_see_two_versions_mixed(lineage: Lineage, issuer: Authority, tmp_path: Path) -> None:
    """400 switches under a reader of the combined file and one with a handle of the folder, each a process."""
    versions = [stored(lineage, issuer.issue(NAME)) for _ in range(3)]
    lineage.switch(versions[0])
    stop = tmp_path / "stop"
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(lineage.base), NAME, how, str(stop)],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for how in ("combined", "handle")
    ]  # fmt: skip
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        for n in range(400):
            lineage.switch(versions[n % 3])
    finally:
        stop.touch()
        done = [r.communicate(timeout=60) for r in readers]
    for out, errors in done:
        found = json.loads(out)
        assert found["bad"] == 0, errors
        assert found["reads"] > 100
        assert found["seen"] == 3
