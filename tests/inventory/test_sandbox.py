"""Processes that parse foreign bytes: bounded memory, and no files, network or programs."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

CHILD = """
import os, socket, subprocess, sys
from inventory.sandbox import confine
def filters():
    with open("/proc/self/status") as status:
        return [line for line in status if line.startswith("Seccomp_filters")]
before = filters()
isolated = confine(300_000_000)
def outcome(action):
    try:
        action()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
print(isolated)
print(outcome(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)))
print(outcome(lambda: bytearray(400_000_000)))
def write():
    with open(sys.argv[2], "wb", 0) as file:
        file.write(b"x")
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
print(outcome(write))
print(filters() != before)
print(outcome(lambda: subprocess.run(["/bin/true"])))
print(outcome(lambda: os.kill(os.getppid(), 0)))
print(outcome(lambda: socket.socket(socket.AF_UNIX)))
"""


def test_confined_process_has_no_network_memory_files_or_programs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", CHILD, str(server.getsockname()[1]), str(tmp_path / "f")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    isolated, connected, memory, written, filtered, *refused = done.stdout.split()
    # Some containers refuse namespaces; the process must then know that it is not isolated.
    assert (connected == "done") == (isolated == "False")
    assert memory == "MemoryError"
    assert written == "OSError"
    # The kernel of a container may refuse the filter of system calls as well.
    expected = "PermissionError" if filtered == "True" else "done"
    assert refused == [expected] * 3
