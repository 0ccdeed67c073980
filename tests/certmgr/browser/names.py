"""Situations of names: wildcards, public suffixes, addresses, and odd alternative names."""

from __future__ import annotations

from typing import Any

from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import tls
from tests.certmgr.browser.situations import Group

GROUP = Group("names")


def _add(name: str, host: str, *names: str, **fields: Any) -> None:
    """Add a host, and the names of its certificate."""
    GROUP.add(name, lambda _: leaf(*names, **fields), host=host)


def _add_san(name: str, host: str, *listed: bytes | str, relative: bool = False) -> None:
    """Add a host, and the alternative names of its certificate as GeneralNames."""
    GROUP.add(
        name,
        lambda _: leaf(host, extensions={"san": der.san(*listed)}),
        host=host,
        relative=relative,
    )


_add("another-name", "other.names.test", "shop.names.test")
_add("one-of-many", "name-250.names.test", *(f"name-{n}.names.test" for n in range(300)))
_add("none-of-many", "name-x.names.test", *(f"name-{n}.names.test" for n in range(300)))
_add("capitals", "capitals.names.test", "CAPITALS.Names.TEST")
_add("underscore", "under_score.names.test", "under_score.names.test")
_add("underscore-by-wildcard", "under_score2.names.test", "*.names.test")
_add("leading-underscore", "_dmarc.names.test", "_dmarc.names.test")
_add("digits-only-label", "123.names.test", "123.names.test")
_add("www-missing", "www.bare.names.test", "bare.names.test")
_add("www-surplus", "bare2.names.test", "www.bare2.names.test")
_add("international", "xn--grten-gra.names.test", "xn--grten-gra.names.test")
_add("international-by-wildcard", "xn--mller-kva.names.test", "*.names.test")
_add_san(
    "international-as-utf8", "xn--bcher-kva.names.test", tlv(0x82, "bücher.names.test".encode())
)
_add_san(
    "international-as-latin1", "xn--bcher-kva.names2.test", tlv(0x82, b"b\xfccher.names2.test")
)

# Wildcards
_add("wildcard", "a.wild.names.test", "*.wild.names.test")
_add("wildcard-bare", "wild2.names.test", "*.wild2.names.test")
_add("wildcard-two-levels", "a.b.wild3.names.test", "*.wild3.names.test")
_add("wildcard-part-of-label", "shop1.wild4.names.test", "shop*.wild4.names.test")
_add("wildcard-in-the-middle", "a.shop.names.test", "a.*.names.test")
_add("wildcard-second-label", "a.b.wild5.names.test", "*.b.wild5.names.test")
_add("wildcard-twice", "a.b.wild6.names.test", "*.*.wild6.names.test")
_add("wildcard-alone", "lonely.names.test", "*")
_add("wildcard-international", "xn--caf-dma.wild7.names.test", "xn--*.wild7.names.test")
_add("wildcard-with-exact", "exact.names.test", "*.example.com", "exact.names.test")

# Public suffixes: the ICANN part forbids wildcards, the private part does not.
for _suffix in (
    "plesk.page",
    "github.io",
    "azurewebsites.net",
    "herokuapp.com",
    "blogspot.com",
    "s3.amazonaws.com",
):
    _add(f"wildcard-{_suffix}", f"customer.{_suffix}", f"*.{_suffix}")
for _suffix in ("com", "co.uk", "uk", "com.au", "city.kawasaki.jp", "test", "internal", "local"):
    _add(f"wildcard-{_suffix}", f"customer.{_suffix}", f"*.{_suffix}")
_add("one-label", "intranet", "intranet")
_add("one-label-with-dot-wildcard", "printer", "*.printer")

# Addresses
_add("address", "127.0.0.1", "127.0.0.1")
_add("address-of-another", "127.0.0.1", "127.0.0.2")
_add_san("address-as-name", "127.0.0.1", "127.0.0.1")
_add_san("address-as-uri", "127.0.0.1", tlv(0x86, b"https://127.0.0.1/"))
_add("address-by-wildcard", "127.0.0.1", "*.0.0.1")
_add_san("address-mapped", "127.0.0.1", tlv(0x87, bytes(10) + b"\xff\xff\x7f\0\0\x01"))
_add_san("address-of-five-bytes", "127.0.0.1", tlv(0x87, b"\x7f\0\0\x01\0"), "x.test")
_add_san("address-and-name", "127.0.0.1", tlv(0x87, b"\x7f\0\0\x01"), "x.test")
_add_san(
    "name-and-malformed-address", "malformed.names.test", tlv(0x87, b"1"), "malformed.names.test"
)
GROUP.add(
    "address-in-common-name",
    lambda host: leaf("127.0.0.1", extensions={"san": None}),
    host="127.0.0.1",
)

# Alternative names
GROUP.add("common-name-only", lambda host: leaf(host, extensions={"san": None}))
GROUP.add(
    "common-name-differs", lambda host: leaf(host, subject=der.common_name("other.example.com"))
)
GROUP.add(
    "common-name-matches-and-san-does-not",
    lambda host: leaf(host, extensions={"san": der.san("other.example.com")}),
)
GROUP.add("san-critical", lambda host: leaf(host, extensions={"san": der.san(host, critical=True)}))
_add_san("san-empty", "empty.names.test")
_add_san("san-mail-only", "mail.names.test", tlv(0x81, b"a@mail.names.test"))
_add_san("san-uri-only", "uri.names.test", tlv(0x86, b"https://uri.names.test/"))
_add_san("san-trailing-dot", "dot.names.test", "dot.names.test.")
_add_san("san-leading-dot", "leading.names.test", ".leading.names.test")
_add_san("san-blank-at-end", "blank.names.test", "blank.names.test ")
_add_san("san-zero-byte", "zero.names.test", "zero.names.test\0.example.com")
_add_san("san-zero-byte-at-end", "zero2.names.test", "zero2.names.test\0")
_add_san("san-with-port", "port.names.test", "port.names.test:443")
_add_san("san-with-scheme", "scheme.names.test", "https://scheme.names.test")
_add_san("san-empty-name-first", "first.names.test", "", "first.names.test")
_add_san("san-blank-name-first", "second.names.test", " ", "second.names.test")
_add_san(
    "san-other-name-first",
    "third.names.test",
    tlv(0xA0, der.oid("1.2.3") + tlv(0xA0, der.NULL)),
    "third.names.test",
)
_add_san(
    "san-directory-name-first",
    "fourth.names.test",
    tlv(0xA4, der.common_name("x")),
    "fourth.names.test",
)
_add_san("san-unknown-kind", "fifth.names.test", tlv(0x8F, b"x"), "fifth.names.test")
_add_san("san-same-name-twice", "twice.names.test", "twice.names.test", "twice.names.test")
_add_san("san-long-label", f"{'a' * 63}.names.test", f"{'a' * 63}.names.test")

# Several leaves by key type
GROUP.add(
    "rsa-leaf-of-another-name",
    lambda host: tls(leaf(host), extra=(leaf("other.names.test", kind="rsa2048 leaf"),)),
)

# Characters outside ASCII
_add_san(
    "san-mail-outside-ascii",
    "mail2.names.test",
    tlv(0x81, "bücher@names.test".encode()),
    "mail2.names.test",
)
_add_san(
    "san-uri-outside-ascii",
    "uri2.names.test",
    tlv(0x86, "https://bücher.names.test/".encode()),
    "uri2.names.test",
)
_add_san("international-in-capitals", "xn--strae-oqa.names.test", "XN--STRAE-OQA.names.test")
_add_san("san-long-name", "long.names.test", ".".join(["a" * 60] * 5), "long.names.test")
_add_san("wildcard-with-trailing-dot", "a.dotted.names.test", "*.dotted.names.test.")

# Names of other kinds that only browsers can read
_add_san("san-x400", "x400.names.test", tlv(0xA3, der.seq()), "x400.names.test", relative=True)
_add_san(
    "san-other-name-malformed",
    "other2.names.test",
    tlv(0xA0, der.NULL),
    "other2.names.test",
    relative=True,
)
_add_san("san-address-empty", "none.names.test", tlv(0x87, b""), "none.names.test", relative=True)
