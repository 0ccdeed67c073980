"""The administrator's programs: their environment and arguments, and how they end."""

from __future__ import annotations

import getpass
import os
import pwd
import signal
import socket
from pathlib import Path

import pytest

from certmgr.deploy.hooks import MAX_OUTPUT, run
from inventory import processes
from inventory.errors import CertmgrError, UsageError
from tests.campaign import time_limits, wait_until


def script(folder: Path, text: str, name: str = "hook") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_program_gets_a_bare_environment_no_input_and_no_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    shows = 'env; pwd; readlink /proc/self/fd/0; ls /proc/$$/fd; umask; echo "[$1|$2]"'
    with (tmp_path / "open").open("w") as file, socket.socket() as sock:
        os.set_inheritable(file.fileno(), True)
        os.set_inheritable(sock.fileno(), True)
        done = run(
            [script(tmp_path, shows)],
            arguments=["add", "x.example"],
            extra_environment={"CERTMGR_LINEAGE": "shop"},
        )
    assert done.ok, done
    lines = done.output.splitlines()
    variables = {line.partition("=")[0] for line in lines if "=" in line}
    assert variables == {"PATH", "LANG", "CERTMGR_LINEAGE", "PWD"}, "PWD is set by the shell"
    assert "PATH=/usr/sbin:/usr/bin:/sbin:/bin" in lines
    assert lines[lines.index("/") + 1] == "/dev/null"
    descriptors = {int(line) for line in lines if line.isdigit() and len(line) < 3}
    assert descriptors <= {0, 1, 2, 10}, "the shell reads its script from 10"
    assert "[add|x.example]" in lines


@pytest.mark.parametrize(
    "text",
    [
        "$(touch x)",
        "`id`",
        "a;b",
        "a|b",
        "a\nb",
        "a\0b",
        "() { :;}; echo x",
        "-rf",
        "--help",
        "a'b",
        'a"b',
        "a&b",
        "\x1b[31m",
        "a\\b",
        "*?[",
        "ä",
        "",
        "a b",
    ],
)
def test_hostile_text_is_refused_as_an_argument(tmp_path: Path, text: str) -> None:
    hook = script(tmp_path, f"touch {tmp_path}/ran")
    with pytest.raises(UsageError) as caught:
        run([hook], arguments=[text])
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    if text not in ("", "a b", "-rf", "--help"):  # which are harmless as values of variables
        with pytest.raises(UsageError):
            run([hook], extra_environment={"CERTMGR_NAME": text})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["PATH", "LD_PRELOAD", "CERTMGR_", "CERTMGR_x", "CERTMGR_A=B", "BASH_ENV"]
)
def test_variable_that_is_not_certmgrs_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        run(["/bin/true"], extra_environment={name: "x"})


def test_words_of_names_and_challenges_are_accepted(tmp_path: Path) -> None:
    words = [
        "*.shop.example.com",
        "_acme-challenge.xn--e1afmkfd.example",
        "-" + "A_b-" * 10 + "xy",
        "192.0.2.1",
        "2001:db8::1",
    ]
    done = run([script(tmp_path, 'for w in "$@"; do echo "$w"; done')], arguments=words)
    assert done.output.splitlines() == words


@pytest.mark.parametrize("command", [[], ["true"], ["./true"], ["/bin/true", "a\0b"]])
def test_command_that_is_not_an_absolute_path_is_refused(command: list[str]) -> None:
    with pytest.raises(UsageError):
        run(command)


def test_program_that_cannot_be_started_reports_why(tmp_path: Path) -> None:
    with pytest.raises(CertmgrError, match="No such file"):
        run([str(tmp_path / "missing")])
    (tmp_path / "plain").write_text("x")
    with pytest.raises(CertmgrError, match="Permission denied"):
        run([str(tmp_path / "plain")])


def test_exit_code_or_signal_and_output_are_reported(tmp_path: Path) -> None:
    assert (run(["/bin/false"]).code, run(["/bin/false"]).ok) == (1, False)
    ended = run([script(tmp_path, "kill -TERM $$")])
    assert (ended.ok, ended.code, ended.signal) == (False, None, signal.SIGTERM)
    assert "signal 15" in ended.sentence
    assert run(["/bin/sh", "-c", "echo one; echo two >&2; exit 3"]).output == "one\ntwo"


def test_time_limit_ends_grandchildren_too(tmp_path: Path) -> None:
    text = f"(sleep 600; touch {tmp_path}/late) & echo $! >{tmp_path}/pid; echo begun; sleep 600"
    for limit in time_limits(1.0):
        done = run([script(tmp_path, text)], timeout=limit)
        if done.output:  # it had begun
            break
    assert (done.ok, done.timed_out, done.code) == (False, True, None)
    assert done.output == "begun"
    grandchild = int((tmp_path / "pid").read_text())
    wait_until(lambda: not _runs(grandchild), "the end of the grandchild")
    assert not (tmp_path / "late").exists(), "it was ended before it was done"


@pytest.mark.parametrize("error", [PermissionError, ProcessLookupError])
def test_program_that_cannot_be_killed_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """Without root, a program that became another user, such as sudo, refuses the signal."""

    def refused(group: int, number: int) -> None:
        raise error

    hook = script(tmp_path, f"echo $$ >{tmp_path}/pid; echo begun; exec sleep 600")
    monkeypatch.setattr(processes, "END_SECONDS", 0.2)
    with monkeypatch.context() as kernel:
        kernel.setattr(os, "killpg", refused)
        for limit in time_limits(1.0):
            done = run([hook], timeout=limit)
            if done.output:
                break
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    pid = int((tmp_path / "pid").read_text())
    assert _runs(pid)
    assert (done.ok, done.timed_out, done.is_running) == (False, True, True)
    assert "could not be killed" in done.sentence
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not _runs(pid), "the end of the program")
    assert run(["/bin/true"]).ok
    # The next time limit reaps it.
    assert run(["/bin/sleep", "600"], timeout=0.05).timed_out
    assert not Path(f"/proc/{pid}").exists()


def _runs(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_server_that_stays_behind_is_not_waited_for(tmp_path: Path) -> None:
    text = f"sleep 600 & echo $! >{tmp_path}/pid; echo started"
    done = run([script(tmp_path, text)], timeout=120)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert done.ok
        assert done.output == "started"
        assert _runs(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_output_cannot_drive_a_terminal() -> None:
    hostile = (
        r"\033[31mred\033[0m \033]0;title\007x \033Px\033\\y \r\nnext\a \302\233 \342\200\256 \377"
    )
    done = run(["/bin/sh", "-c", f"printf '{hostile}'"])
    assert done.ok
    assert done.output.splitlines()[0].startswith("red x y")
    assert all(c.isprintable() or c in "\n" for c in done.output), done.output
    assert "\x1b" not in done.output
    assert "title" not in done.output


def test_output_beyond_the_limit_is_read_and_dropped() -> None:
    line = "a line of one hundred characters, more or less, which is repeated quite often"
    text = f"i=0; while [ $i -lt 3000 ]; do echo '{line}'; i=$((i+1)); done; exit 4"
    done = run(["/bin/sh", "-c", text])
    assert done.code == 4, "it was read to its end, so that it was not blocked"
    assert MAX_OUTPUT - 100 < len(done.output) <= MAX_OUTPUT


def test_program_runs_as_another_user_with_all_groups() -> None:
    """By root. Other users are refused, with the reason."""
    if os.geteuid() == 0:
        done = run(["/usr/bin/id"], user="nobody")
        found = pwd.getpwnam("nobody")
        assert done.output.startswith(f"uid={found.pw_uid}(nobody) gid={found.pw_gid}")
        assert "root" not in done.output
        assert run(["/bin/sh", "-c", "cat /etc/shadow"], user="nobody").code
    else:
        with pytest.raises(CertmgrError, match="only root can become another user"):
            run(["/usr/bin/id"], user="root")
    assert run(["/usr/bin/id", "-u"], user=getpass.getuser()).output == str(os.geteuid())
    with pytest.raises(CertmgrError, match="has no user"):
        run(["/usr/bin/id"], user="no-such-user")


def test_user_who_is_not_root_cannot_become_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(CertmgrError, match="only root can become another user"):
        run(["/usr/bin/id"], user="nobody")
