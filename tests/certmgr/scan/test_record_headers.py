"""Headers of TLS records. tests/certmgr/browser/page_records.py compares with Chromium."""

from __future__ import annotations

import pytest

from certmgr.scan.record_headers import TOO_LONG, UNEXPECTED, RecordHeaders

_CIPHER, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_BEFORE, _TLS12, _TLS13 = 0, 0x0303, 0x0304


def _record(kind: int, size: int = 3) -> bytes:
    return bytes([kind, 3, 3]) + size.to_bytes(2, "big") + bytes(size)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100_000])
@pytest.mark.parametrize(
    ("version", "records", "refused", "problem"),
    [
        (_BEFORE, [(_HANDSHAKE, 90), (_CIPHER, 1), (_DATA, 16_401)], None, ""),
        (_BEFORE, [(_HANDSHAKE, 90), (_DATA, 0), (_DATA, 16_402)], 2, TOO_LONG),
        (_BEFORE, [(_HANDSHAKE, 16_402)], None, ""),
        (_TLS13, [(_DATA, 16_401), (_ALERT, 2), (_DATA, 0)], None, ""),
        (_TLS13, [(_DATA, 16_402)], 0, TOO_LONG),
        (_TLS13, [(_DATA, 9), (_CIPHER, 1), (_DATA, 9)], 1, UNEXPECTED),
        (_TLS12, [(_DATA, 16_408), (_ALERT, 2), (_DATA, 9)], None, ""),
        (_TLS12, [(_HANDSHAKE, 4), (_DATA, 9)], 1, UNEXPECTED),
        (_TLS12, [(_HANDSHAKE, 4), (_HANDSHAKE, 9), (_CIPHER, 1), (_DATA, 9)], 3, UNEXPECTED),
        (
            _TLS12,
            [(_HANDSHAKE, 4), (_HANDSHAKE, 9), (_CIPHER, 1), (_HANDSHAKE, 16), (_DATA, 9)],
            None,
            "",
        ),
    ],
)
def test_records_that_browsers_refuse_do_not_pass(
    version: int, records: list[tuple[int, int]], refused: int | None, problem: str, chunk: int
) -> None:
    headers = RecordHeaders()
    headers.established = version
    data = b"".join(_record(*one) for one in records)
    passed = b""
    for begin in range(0, len(data), chunk):
        passed += headers.feed(data[begin : begin + chunk])
        if headers.problem:
            break
    whole = b"".join(_record(*one) for one in records[:refused])
    assert headers.problem == problem
    # Of a refused record, up to four bytes of its header may have come alone.
    assert passed[: len(whole)] == whole and len(passed) - len(whole) < 5
