"""Name constraints are applied as BoringSSL applies them.

``tests/certmgr/browser/constraints.py`` compares more cases with the installed Chromium.
"""

from __future__ import annotations

import pytest

from certmgr.x509.name_constraints import permitted, readable
from inventory.certificates import Certificate, parse
from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import ROOT, Ca, ca, leaf


def _path(made: Ca, *names: bytes | str) -> list[Certificate]:
    san = {"san": der.san(*names)}
    below = leaf("shop.example.com", issuer=made, extensions=san)
    return [parse(d) for d in (below.chain[0], *made.chain(), ROOT.der)]


def _constrained(*subtrees: bytes | str, excluded: tuple[bytes | str, ...] = ()) -> Ca:
    return ca("Constrained", ROOT, extensions={"x": der.name_constraints(subtrees, excluded)})


@pytest.mark.parametrize(
    ("subtree", "name", "within"),
    [
        ("example.com", "shop.example.com", True),
        ("EXAMPLE.com.", "shop.example.com", True),
        (".example.com", "example.com", False),
        ("ample.com", "example.com", False),
        ("", "anything.test", True),
        (".", "anything.test", False),
        ("a.example.com", "*.example.com", False),
        (tlv(0x87, bytes([10, 0, 0, 0, 255, 0, 0, 0])), tlv(0x87, bytes([10, 9, 9, 9])), True),
        (tlv(0x87, bytes([10, 0, 0, 0, 255, 0, 0, 0])), tlv(0x87, bytes(16)), False),
        (tlv(0x81, b"example.com"), tlv(0x81, b"a@EXAMPLE.com"), True),
        (tlv(0x81, b".example.com"), tlv(0x81, b"a@example.com"), False),
        (tlv(0x86, b".example.com"), tlv(0x86, b"https://a.example.com/"), False),
    ],
)
def test_a_permitted_subtree_holds_only_what_is_within_it(
    subtree: bytes | str, name: bytes | str, within: bool
) -> None:
    assert permitted(_path(_constrained(subtree), name)) == within


def test_a_wildcard_of_which_a_part_is_excluded_is_not_permitted() -> None:
    path = _path(_constrained(excluded=("b.example.com",)), "*.example.com")
    assert not permitted(path)


def test_names_of_a_kind_without_constraint_are_permitted() -> None:
    assert permitted(_path(_constrained("example.com"), tlv(0x81, b"a@b.test"), "example.com"))


def test_a_constraint_holds_below_another_ca() -> None:
    lower = ca("Lower", _constrained("example.com"))
    assert not permitted(_path(lower, "shop.example.net"))
    assert permitted(_path(lower, "shop.example.com"))


@pytest.mark.parametrize(
    "value",
    [
        der.seq(),
        der.seq(tlv(0xA0, b"")),
        der.seq(tlv(0xA0, der.seq(tlv(0x82, b"example.com"), tlv(0x80, b"\1")))),
        der.seq(tlv(0xA0, der.seq(tlv(0x87, b"12345")))),
        der.seq(tlv(0xA0, der.seq(tlv(0x87, bytes([10, 0, 0, 0, 255, 0, 255, 0]))))),
        der.seq(tlv(0xA0, der.seq(tlv(0x82, b"b\xfccher.test")))),
    ],
)
def test_constraints_that_browsers_cannot_read_are_no_constraint(value: bytes) -> None:
    made = ca("Odd", ROOT, extensions={"x": der.extension("2.5.29.30", value, True)})
    certificate = parse(made.der)
    # The CA itself is the finding then (certmgr/checks/browser_rules.py).
    assert not (readable(certificate) and certificate.constrains_names)
    assert permitted(_path(made, "shop.example.com"))
