"""Names: accepted input, stored form and displayed form."""

from __future__ import annotations

import pytest

from inventory.errors import InvalidName
from inventory.names import (
    certificate_name,
    display,
    is_ehlo_name,
    matches,
    normalise,
    normalise_host,
    registered_domain,
    registry_suffix,
)


@pytest.mark.parametrize(
    ("typed", "stored", "shown"),
    [
        ("Shop.Example.COM.", "shop.example.com", "shop.example.com"),
        ("bücher.example", "xn--bcher-kva.example", "bücher.example"),
        ("BÜCHER。example", "xn--bcher-kva.example", "bücher.example"),
        ("my_shop.example.com", "my_shop.example.com", "my_shop.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", "bücher.example"),
        ("xn--a.example", "xn--a.example", "xn--a.example"),
        ("straße.example", "xn--strae-oqa.example", "straße.example"),
        ("_dmarc.example.com", "_dmarc.example.com", "_dmarc.example.com"),
    ],
)
def test_name_is_stored_as_a_labels_and_shown_as_u_labels(
    typed: str, stored: str, shown: str
) -> None:
    assert normalise(typed) == stored
    assert display(stored) == shown


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "  ",
        "a b.example.com",
        "a..b",
        ".example.com",
        "-a.example",
        "a" * 64 + ".example",
        "a." * 127 + "toolong",
        "1.2.3.4",
        "a/b",
        "x" * 5000,
        "a\x00b.example",
        "ex\u202eample.com",
        "*.example.com",
    ],
)
def test_invalid_name_is_refused(typed: str) -> None:
    with pytest.raises(InvalidName):
        normalise(typed)


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("shop.example.com", "shop.example.com", True),
        ("*.example.com", "shop.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("s*.example.com", "shop.example.com", False),
        ("*.*.example.com", "a.b.example.com", False),
        ("*.com", "example.com", False),
        ("*.co.uk", "example.co.uk", False),
        ("*", "example", False),
        # Unknown top-level domains are administered by someone else too.
        ("*.intranet", "wiki.intranet", False),
        ("*.site.intranet", "wiki.site.intranet", True),
        # The owner of a private suffix holds certificates for all names below it.
        ("*.plesk.page", "a-b.plesk.page", True),
        ("*.github.io", "project.github.io", True),
        ("*.azurewebsites.net", "shop.azurewebsites.net", True),
        ("*.s3.amazonaws.com", "files.s3.amazonaws.com", True),
        # A rule with a wildcard, and an exception from it (*.kawasaki.jp, !city.kawasaki.jp).
        ("*.ward.kawasaki.jp", "shop.ward.kawasaki.jp", False),
        ("*.kawasaki.jp", "city.kawasaki.jp", False),
        ("*.city.kawasaki.jp", "shop.city.kawasaki.jp", True),
        ("shop.example.com.", "shop.example.com", True),
        ("*.example.com.", "shop.example.com", True),
        # A dNSName never covers an address.
        ("192.0.2.1", "192.0.2.1", False),
        ("*.0.2.1", "192.0.2.1", False),
        ("2001:db8::1", "2001:db8::1", False),
    ],
)
def test_wildcard_matches_one_label_below_a_registered_domain(
    pattern: str, host: str, expected: bool
) -> None:
    assert matches(pattern, host) is expected


def test_registered_domain_follows_the_public_suffix_list() -> None:
    assert registered_domain("a.b.example.co.uk") == "example.co.uk"
    assert registry_suffix("a.b.example.co.uk") == "co.uk"
    assert registry_suffix("project.github.io") == "io"
    assert registry_suffix("co.uk") == ""
    assert normalise_host("[2001:DB8::1]") == "2001:db8::1"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("scan.example.com", True),
        ("Scan.Example.COM", True),
        ("scan.example.com.", False),
        ("scan", True),
        ("[192.0.2.1]", True),
        ("[IPv6:2001:db8::1]", True),
        ("[2001:db8::1]", False),
        ("[IPv6:192.0.2.1]", False),
        ("192.0.2.1", False),
        ("b\u00fccher.example", False),
        ("scan.example.com\r\nQUIT", False),
        ("scan example", False),
        ("[]", False),
        ("", False),
    ],
)
def test_name_for_ehlo_is_an_ascii_name_or_an_address_literal(text: str, valid: bool) -> None:
    assert is_ehlo_name(text) is valid


def test_pattern_is_a_name_a_wildcard_or_an_address() -> None:
    assert certificate_name(" Shop.Example. ") == "shop.example"
    assert certificate_name("*.BÜCHER.example") == "*.xn--bcher-kva.example"
    assert certificate_name("[2001:DB8::1]") == "2001:db8::1"
    for wrong in ("*", "*.", "a.*.example", "*.*.example", "*.192.0.2.1", ""):
        with pytest.raises(InvalidName):
            certificate_name(wrong)
