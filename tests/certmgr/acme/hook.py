"""A program that sets TXT records at challtestsrv, as an administrator's hook does."""

from __future__ import annotations

import sys
from pathlib import Path

from certmgr.config.acme import SolverSettings
from tests.servers.pebble import Pebble

# challtestsrv can only remove all values of a name, and several orders may have values there: only
# the last call with "remove" removes them. Without the site module Python starts in milliseconds.
PROGRAM = r"""#!{python} -IS
import fcntl, json, socket, sys

action, name, value = sys.argv[1:]
with open({calls!r}, "a+") as calls:
    fcntl.flock(calls, fcntl.LOCK_EX)
    calls.write(" ".join(sys.argv[1:]) + "\n")
    calls.flush()
    calls.seek(0)
    seen = [line.split()[0] for line in calls if line.split()[1] == name]
    if action == "remove" and seen.count("add") > seen.count("remove"):
        sys.exit()
    path = "set-txt" if action == "add" else "clear-txt"
    body = json.dumps({{"host": name + ".", "value": value}})
    with socket.create_connection({server!r}) as server:
        head = f"POST /{{path}} HTTP/1.0\r\nContent-Length: {{len(body)}}\r\n\r\n"
        server.sendall((head + body).encode())
        sys.exit(b" 200 " not in server.makefile("rb").readline())
"""


def hook(folder: Path, ca: Pebble) -> SolverSettings:
    """Return a solver whose program notes each call in the file ``calls``."""
    host, _, port = ca.dns_management.rpartition("/")[2].partition(":")
    path = folder / "dns-hook"
    calls = str(folder / "calls")
    path.write_text(PROGRAM.format(python=sys.executable, calls=calls, server=(host, int(port))))
    path.chmod(0o755)
    return SolverSettings(kind="hook", command=(str(path),), propagation=5.0)
