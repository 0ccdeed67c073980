"""Certificates in PEM: hostile files."""

from __future__ import annotations

import pytest

from certmgr.demo.authority import Authority
from inventory.certificates import from_pem

BEGIN = b"-----BEGIN CERTIFICATE-----"


def test_many_blocks_without_an_end_are_searched_once() -> None:
    # A search to the end of the file from each of them would take hours.
    with pytest.raises(ValueError, match="no PEM certificate"):
        from_pem(BEGIN * 200_000)


def test_block_without_an_end_takes_the_next_one_with_it(root: Authority) -> None:
    first, second = from_pem(BEGIN + b"\n" + root.pem + root.pem)
    assert first.parsed is None
    assert second.parsed is not None
