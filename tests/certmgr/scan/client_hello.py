"""Read a ClientHello (RFC 8446 4.1.2), and record that of the installed Chromium."""

from __future__ import annotations

import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import PATIENCE
from tests.servers import real

SUPPORTED_GROUPS, SIGNATURE_ALGORITHMS, ALPN, SUPPORTED_VERSIONS, KEY_SHARE = 10, 13, 16, 43, 51
# Chromium ends after it has printed the page, or its error page.
_CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * 127.0.0.1",
    "--dump-dom",
)


def is_grease(value: int) -> bool:
    """Return whether a value is reserved to test the tolerance of servers (RFC 8701)."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The properties of a ClientHello, without the values that are reserved by RFC 8701.

    Attributes:
        size: The size of the TLS record in bytes.
    """

    size: int
    suites: tuple[int, ...]
    groups: tuple[int, ...]
    key_shares: tuple[int, ...]
    signatures: tuple[int, ...]
    versions: tuple[int, ...]
    protocols: tuple[bytes, ...]


def read(record: bytes) -> ClientHello:
    """Parse a TLS record with a ClientHello."""
    body = record[5:]
    position = 4 + 2 + 32
    position += 1 + body[position]
    suites, position = _vector(body, position, 2)
    position += 1 + body[position]
    extensions, _ = _vector(body, position, 2)
    by_type: dict[int, bytes] = {}
    while extensions:
        content, end = _vector(extensions, 2, 2)
        by_type[int.from_bytes(extensions[:2], "big")] = content
        extensions = extensions[end:]
    shares, _ = _vector(by_type[KEY_SHARE], 0, 2)
    key_shares = b""
    while shares:
        _, end = _vector(shares, 2, 2)
        key_shares += shares[:2]
        shares = shares[end:]
    protocols: list[bytes] = []
    names = _vector(by_type[ALPN], 0, 2)[0] if ALPN in by_type else b""
    while names:
        name, end = _vector(names, 0, 1)
        protocols.append(name)
        names = names[end:]
    return ClientHello(
        len(record),
        _numbers(suites),
        _numbers(_vector(by_type[SUPPORTED_GROUPS], 0, 2)[0]),
        _numbers(key_shares),
        _numbers(_vector(by_type[SIGNATURE_ALGORITHMS], 0, 2)[0]),
        _numbers(_vector(by_type[SUPPORTED_VERSIONS], 0, 1)[0]),
        tuple(protocols),
    )


def _vector(data: bytes, position: int, width: int) -> tuple[bytes, int]:
    """Return a vector with a length of ``width`` bytes before it, and the position after it."""
    start = position + width
    end = start + int.from_bytes(data[position:start], "big")
    return data[start:end], end


def _numbers(data: bytes) -> tuple[int, ...]:
    values = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    return tuple(v for v in values if not is_grease(v))


def of_chromium(folder: Path) -> ClientHello:
    """Return the ClientHello of the installed Chromium, which gets no answer to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    records: list[bytes] = []
    recorded = threading.Event()

    def record() -> None:
        while not recorded.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                header = stream.read(5)
                records.append(header + stream.read(int.from_bytes(header[3:5], "big")))
            recorded.set()

    thread = threading.Thread(target=record, daemon=True)
    thread.start()
    url = f"https://shop.example.test:{listener.getsockname()[1]}/"
    process = subprocess.Popen(
        [
            real.program("chromium", "chromium"),
            *_CHROMIUM_FLAGS,
            f"--user-data-dir={folder}",
            url,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert recorded.wait(PATIENCE), "chromium opened no connection"
    finally:
        process.terminate()
        process.wait()
        listener.close()
    return read(records[0])
