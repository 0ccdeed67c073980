"""Lists of public keys: hostile files."""

from __future__ import annotations

from certmgr.cases.blocked_keys import read_keys
from certmgr.demo.authority import Authority
from certmgr.x509.trust_rules import spki_sha256
from inventory.certificates import from_pem


def test_blocks_without_an_end_do_not_hide_the_others(root: Authority) -> None:
    text = f"{root.pem.decode()}\n{'ab' * 32}\n-----BEGIN A-----{root.pem.decode()}"
    keys, invalid = read_keys(text)
    assert keys == [spki_sha256(from_pem(root.pem)[0]), "ab" * 32]
    assert invalid == ["line 4: '-----BEGIN'"]


def test_many_blocks_without_an_end_are_searched_once() -> None:
    labels = "".join(f"-----BEGIN {n}-----" for n in range(100_000))
    keys, invalid = read_keys(f"{labels}{'-----BEGIN A-----' * 100_000}\n{'ab' * 32}")
    assert keys == ["ab" * 32]
    assert len(invalid) == 1
