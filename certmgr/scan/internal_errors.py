"""Which errors of a probe or a judgement are faults of the program. Pure."""

from __future__ import annotations

import asyncio


def is_internal(error: BaseException) -> bool:
    """Return whether an error is a fault of the program, and not the wish to end it.

    The panic of a library in Rust (cryptography) is a BaseException and no Exception.
    """
    return isinstance(error, Exception) or not isinstance(
        error, (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
    )
