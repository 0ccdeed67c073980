"""Names of subjects and issuers are compared in their normalised form."""

from __future__ import annotations

import pytest

from inventory.distinguished_names import is_name, name_text, normalised
from tests.certmgr.browser.der import common_name, seq

NAME = common_name("Example Issuer")


@pytest.mark.parametrize(
    "same",
    [
        common_name("Example Issuer", 0x13),
        common_name("EXAMPLE issuer"),
        common_name("  Example   Issuer "),
        common_name("".join(f"\0{c}" for c in "Example Issuer"), 0x1E),
    ],
)
def test_type_case_and_blanks_do_not_matter(same: bytes) -> None:
    assert normalised(same) == normalised(NAME)


@pytest.mark.parametrize(
    "other",
    [
        common_name("Example Issuer", 0x14),
        common_name("ExampleIssuer"),
        common_name("Example\tIssuer"),
        seq(),
        b"\x30\x05\x31",
    ],
)
def test_other_names_differ(other: bytes) -> None:
    assert normalised(other) != normalised(NAME)


def test_case_of_letters_outside_ascii_matters() -> None:
    upper, lower = common_name("Ä", 0x14), common_name("ä", 0x14)
    assert normalised(upper) != normalised(lower)


def test_teletex_string_is_read_as_latin_1() -> None:
    name = common_name("Gärten", 0x14)
    assert is_name(name)
    assert name_text(name) == "CN=Gärten"


def test_name_of_many_attributes_is_shown_in_part() -> None:
    name = seq(*[common_name("x")[2:]] * 5000)
    assert name_text(name).endswith("CN=x, ...")
    assert name_text(b"\x30\x05\x31") == ""
