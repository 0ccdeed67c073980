"""The names of the next certificate."""

from __future__ import annotations

import pytest

from certmgr.acme.requested_names import redundancy


@pytest.mark.parametrize(
    ("names", "covered"),
    [
        (["x.test", "www.x.test", "*.x.test"], ["www.x.test (by *.x.test)"]),
        (["a.x.test", "b.x.test", "*.x.test"], ["a.x.test (by", "b.x.test (by"]),
        (["a.b.x.test", "*.b.x.test", "*.x.test", "b.x.test"], ["a.b.x.test (by", "b.x.test (by"]),
        (["x.test", "*.x.test"], []),
        (["a.b.x.test", "*.x.test"], []),
        (["www.x.test", "x.test"], []),
    ],
)
def test_name_that_a_wildcard_of_the_same_certificate_covers_is_redundant(
    names: list[str], covered: list[str]
) -> None:
    text = redundancy(names)
    assert bool(text) == bool(covered)
    assert all(c in text for c in covered)
