"""How far Chrome searches for a path. tests/certmgr/browser/paths.py compares with Chromium."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from certmgr.x509.path_search import MAX_STEPS, Path, ambiguous, found_in_time
from inventory.certificates import Certificate, parse
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import ROOT, Ca, ca, days, leaf

_ROOT = parse(ROOT.der)
_NAMELESS: dict[str, bytes | None] = {"aki": None, "ski": None}


def _found(end: Certificate, sent: Sequence[Ca], good: Ca) -> bool:
    """Return whether the search meets the path over one of the sent certificates."""
    wanted, searched = parse(good.der), list[Path]()

    def accepted(path: Path) -> bool:
        searched.append(path)
        return path == (end, wanted, _ROOT)

    def anchors(child: Certificate) -> list[Certificate]:
        return [_ROOT] if child.issuer_key == _ROOT.subject_key else []

    found = found_in_time(end, [parse(c.der) for c in sent], anchors, accepted)
    assert len(searched) <= MAX_STEPS
    return found


def _same_name(count: int) -> list[Ca]:
    return [ca("Issuer of one name", ROOT, kind=f"p256 one name {n}") for n in range(count)]


@pytest.mark.parametrize(("position", "found"), [(0, True), (6, True), (7, False), (11, False)])
def test_issuer_behind_many_of_its_name_is_not_found(position: int, found: bool) -> None:
    sent = _same_name(12)
    end = parse(leaf("a.test", issuer=sent[position], extensions=_NAMELESS).chain[0])
    assert _found(end, sent, sent[position]) is found


def test_issuer_with_the_named_key_is_tried_first() -> None:
    sent = _same_name(12)
    assert _found(parse(leaf("a.test", issuer=sent[11]).chain[0]), sent, sent[11])


def test_issuer_with_another_key_identifier_is_tried_last() -> None:
    other = {"ski": der.extension("2.5.29.14", b"\x04\x04abcd")}
    good = ca("Issuer of one name", ROOT, kind="p256 odd", extensions=other)
    others = [
        ca("Issuer of one name", ROOT, kind=f"p256 {n}", extensions=_NAMELESS) for n in range(8)
    ]
    sent = [good, *others]
    assert not _found(parse(leaf("a.test", issuer=good).chain[0]), sent, good)


def test_issuer_that_began_last_is_tried_first() -> None:
    good = ca("Issuer of one name", ROOT, kind="p256 new", begin=days(-1))
    end = parse(leaf("a.test", issuer=good, extensions=_NAMELESS).chain[0])
    assert _found(end, [*_same_name(12), good], good)


def test_certificate_that_is_an_anchor_ends_the_path() -> None:
    sent = [ROOT, *_same_name(3)]
    assert _found(parse(leaf("a.test", issuer=sent[1]).chain[0]), sent, sent[1])


def test_search_without_a_path_ends_before_its_limit() -> None:
    sent = _same_name(3)
    assert _found(parse(leaf("a.test", issuer=sent[0]).chain[0]), sent, ROOT)


def test_ordinary_chains_need_no_search() -> None:
    upper = ca("Upper issuer", ROOT)
    lower = ca("Lower issuer", upper)
    ordinary = [lower, upper, ROOT, upper]
    assert not ambiguous([parse(c.der) for c in ordinary])
    assert ambiguous([parse(c.der) for c in (*ordinary, *_same_name(2))])
