"""DNS records as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from inventory.text import printable


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """A CAA record (RFC 8659). ``tag`` is in lower case."""

    flags: int
    tag: str
    value: str

    def __str__(self) -> str:
        return f'CAA {self.flags} {printable(self.tag, 40)} "{printable(self.value, 200)}"'


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """A TLSA record (RFC 6698).

    ``data`` is the whole certificate or key (matching 0), or its SHA-256 (1) or SHA-512 (2).
    """

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()[:128]}"
