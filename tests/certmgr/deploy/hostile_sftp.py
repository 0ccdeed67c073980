"""An SSH server that accepts any key and whose SFTP subsystem never ends an answer."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from certmgr.config.acme import TargetSettings

# draft-ietf-secsh-filexfer-02: the answers of a server, and what they answer.
INIT, OPENDIR, READDIR, VERSION, HANDLE, NAME = 1, 11, 12, 2, 102, 104
Talk = Callable[[paramiko.Channel], None]


def _packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, kind) + body


def _text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def drip(channel: paramiko.Channel) -> None:
    """Send a packet of 10 MB, byte by byte."""
    channel.sendall(struct.pack(">IB", 10_000_000, VERSION))
    pause = threading.Event()
    while not pause.wait(0.01):
        channel.sendall(b"\0")


def garbage(channel: paramiko.Channel) -> None:
    """Send what is no packet."""
    channel.sendall(b"\xff" * 64)


def short(channel: paramiko.Channel) -> None:
    """Send a packet without the number that it must have."""
    channel.sendall(_packet(VERSION, b""))


def endless_folder(channel: paramiko.Channel) -> None:
    """List names without end."""
    names = itertools.count()

    def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (piece := channel.recv(count - len(data))):
                raise EOFError
            data += piece
        return data

    while True:
        kind, *rest = read(struct.unpack(">I", read(4))[0])
        number = bytes(rest[:4])
        if kind == INIT:
            channel.sendall(_packet(VERSION, struct.pack(">I", 3)))
        elif kind == OPENDIR:
            channel.sendall(_packet(HANDLE, number + _text(b"h")))
        elif kind == READDIR:
            entry = b"".join(
                _text(b"n%d" % next(names)) + _text(b"") + bytes(4) for _ in range(1000)
            )
            channel.sendall(_packet(NAME, number + struct.pack(">I", 1000) + entry))


class _Server(paramiko.ServerInterface):
    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED


@contextmanager
def hostile_sftp(folder: Path, talk: Talk, timeout: float) -> Iterator[TargetSettings]:
    """Run the server, and yield a target on it."""

    class Subsystem(paramiko.SubsystemHandler):
        def start_subsystem(
            self, name: str, transport: paramiko.Transport, channel: paramiko.Channel
        ) -> None:
            with suppress(OSError, EOFError):
                talk(channel)

    host, client = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    client.write_private_key_file(str(folder / "client"))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    known = f"[127.0.0.1]:{port} {host.get_name()} {host.get_base64()}\n"
    (folder / "known_hosts").write_text(known)
    opened: list[paramiko.Transport] = []

    def accept() -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):
            transport = paramiko.Transport(listener.accept()[0])
            opened.append(transport)
            transport.add_server_key(host)
            transport.set_subsystem_handler("sftp", Subsystem)
            transport.start_server(server=_Server())

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield TargetSettings(
            "ssh",
            str(folder / "tls"),
            host="127.0.0.1",
            port=port,
            login="certmgr",
            timeout=timeout,
            known_hosts=str(folder / "known_hosts"),
            key_file=str(folder / "client"),
        )
    finally:
        listener.close()
        for transport in opened:
            transport.close()
