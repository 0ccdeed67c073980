"""A program that sets TXT records at challtestsrv, as an administrator's hook does."""

from __future__ import annotations

import sys
from pathlib import Path

from certmgr.config.acme import SolverSettings
from tests.servers.pebble import Pebble

# challtestsrv can only remove all values of a name. That waits for the last value, because a CA
# that asks between a removal and the return of the others would not find them. Values whose
# removal failed would pile up until an answer over UDP is larger than pebble reads ("overflowing
# header size"), so more than eight are set anew, and the first call for a name removes what other
# tests left there. Without the site module Python starts in milliseconds.
PROGRAM = r"""#!{python} -IS
import fcntl, json, socket, sys

action, name, value = sys.argv[1:]

def post(path, **given):
    body = json.dumps({{"host": name + ".", **given}})
    with socket.create_connection({server!r}) as server:
        head = f"POST /{{path}} HTTP/1.0\r\nContent-Length: {{len(body)}}\r\n\r\n"
        server.sendall((head + body).encode())
        if b" 200 " not in server.makefile("rb").readline():
            sys.exit(1)

with open({calls!r}, "a+") as calls:
    fcntl.flock(calls, fcntl.LOCK_EX)
    calls.write(" ".join(sys.argv[1:]) + "\n")
    calls.flush()
    calls.seek(0)
    live, earlier = {{}}, -1
    for done, *record in map(str.split, calls):
        if record[0] == name:
            earlier += 1
            live.pop(record[1], None)
            if done == "add":
                live[record[1]] = None
    if not earlier:
        post("clear-txt")
    if action == "add" and len(live) <= 8:
        post("set-txt", value=value)
    elif not live or len(live) > 8:
        post("clear-txt")
        for each in live:
            post("set-txt", value=each)
"""


def hook(folder: Path, ca: Pebble) -> SolverSettings:
    """Return a solver whose program notes each call in the file ``calls``."""
    host, _, port = ca.dns_management.rpartition("/")[2].partition(":")
    path = folder / "dns-hook"
    calls = str(folder / "calls")
    path.write_text(PROGRAM.format(python=sys.executable, calls=calls, server=(host, int(port))))
    path.chmod(0o755)
    return SolverSettings(kind="hook", command=(str(path),), propagation=120.0)
