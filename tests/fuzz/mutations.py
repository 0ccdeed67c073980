"""Mutations without coverage: cheap, and the same in each run with one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_ODD = (
    b"\x00",
    b"\xff\xfe",
    b"\r\n",
    b"\n\n",
    b"%",
    b"\\",
    b'"',
    b"{",
    b"[" * 200,
    b"\x30\x84\xff\xff\xff\xff",
    b"\xe2\x80\xae",
    b"9" * 40,
    b"-1",
    b"NaN",
    b"../" * 9,
    b"<" * 50,
    b"\x1b[31m",
    "é".encode("latin-1"),
)


def mutate(choose: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Return the input with one to four changes."""
    result = bytearray(data)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(result) + 1)
        end = min(at + choose.choice((1, 1, 2, 8, 64)), len(result))
        match choose.randrange(6):
            case 0 if at < len(result):
                result[at] ^= 1 << choose.randrange(8)
            case 1:
                del result[at:end]
            case 2:
                result[at:at] = result[at:end] * choose.choice((1, 3, 100))
            case 3:
                result[at:end] = choose.choice(_ODD)
            case 4:
                other = choose.choice(others)
                start = choose.randrange(len(other) + 1)
                result[at:end] = other[start : start + choose.choice((4, 40, 400))]
            case _:
                result[at:end] = choose.randbytes(end - at)
    return bytes(result[:200_000])


def inputs(seeds: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Yield the seeds, and then mutations of them without end."""
    yield from seeds
    choose = random.Random(seed)
    pool = [s for s in seeds if len(s) < 100_000] or [b""]
    while True:
        yield mutate(choose, choose.choice(pool), pool)
