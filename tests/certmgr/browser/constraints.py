"""Situations of name constraints (RFC 5280 4.2.1.10), which verifiers read differently."""

from __future__ import annotations

from collections.abc import Sequence

from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import ROOT, Leaf, ca, leaf, trusts
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("constraints")
_DOMAIN = "constraints.test"
_OTHER_NAME = tlv(0xA0, der.oid("1.2.3") + tlv(0xA0, der.NULL))


def _mail(text: str) -> bytes:
    return tlv(0x81, text.encode())


def _address(*numbers: int) -> bytes:
    return tlv(0x87, bytes(numbers))


def _add(
    name: str,
    permitted: Sequence[bytes | str] = (),
    excluded: Sequence[bytes | str] = (),
    *,
    host: str = "",
    names: Sequence[bytes | str] = (),
    extension: bytes = b"",
    test: bool = False,
) -> None:
    """Add a leaf under an intermediate with name constraints.

    Args:
        name: The name of the situation.
        permitted: Permitted subtrees.
        excluded: Excluded subtrees.
        host: The host. Default: one of its own.
        names: The alternative names of the leaf. Default: the host.
        extension: The whole extension, instead of subtrees.
        test: Whether ``make test`` judges it too.
    """
    constraint = extension or der.name_constraints(permitted, excluded)
    GROUP.add(
        name,
        lambda host: leaf(
            host,
            issuer=ca(f"Constrained {name}", ROOT, extensions={"x": constraint}),
            extensions={"san": der.san(*(names or (host,)))} if names else None,
        ),
        host=host,
        relative=not test,
    )


# How a name is written
_add("dns-in-capitals", [_DOMAIN.upper()])
_add("dns-with-dot-at-end", [f"{_DOMAIN}."], test=True)
_add("dns-with-wildcard", [f"*.{_DOMAIN}"], test=True)
_add("dns-exact", ["dns-exact.constraints.test"])
_add("dns-part-of-a-label", ["straints.test"])
_add("dns-part-of-a-label-excluded", [], ["straints.test"])
_add("dns-two", ["example.com", _DOMAIN])
_add("dns-outside-ascii", [tlv(0x82, b"b\xfccher.test")])
_add("dns-outside-ascii-excluded", [], [tlv(0x82, b"b\xfccher.test")])
_add("dns-dot-only", ["."])
_add("dns-with-dot-excluded", [], [f".{_DOMAIN}"])
_add(
    "dns-with-dot-of-the-host-excluded", [], [".dns-with-dot-of-the-host-excluded.constraints.test"]
)
_add("dns-two-dots-first", [f"..{_DOMAIN}"])
_add("dns-blank-first", [f" {_DOMAIN}"])
_add("dns-zero-byte", [f"{_DOMAIN}\0"])

# What the leaf has
for _number, (_permitted, _excluded) in enumerate(
    (
        ((), ("b.w0.constraints.test",)),
        ((), ("a.w1.constraints.test",)),
        (("w2.constraints.test",), ()),
        (("a.w3.constraints.test",), ()),
    )
):
    _add(
        f"wildcard-{_number}",
        _permitted,
        _excluded,
        host=f"a.w{_number}.constraints.test",
        names=[f"*.w{_number}.constraints.test"],
        test=_number == 0,
    )
for _name, _permitted, _excluded in (
    ("excluded", (), ("other.example",)),
    ("not-permitted", (_DOMAIN,), ()),
):
    _add(
        f"second-name-{_name}",
        _permitted,
        _excluded,
        names=[f"second-name-{_name}.{_DOMAIN}", "other.example"],
    )
_add("name-with-dot-at-end", [_DOMAIN], names=[f"name-with-dot-at-end.{_DOMAIN}."])
_add("name-with-underscore", [_DOMAIN], names=[f"name-with-underscore.{_DOMAIN}", f"a_b.{_DOMAIN}"])

# Addresses: (permitted, excluded)
_Subtrees = Sequence[bytes | str]
_ADDRESSES: tuple[tuple[str, _Subtrees, _Subtrees], ...] = (
    ("permitted", [_address(127, 0, 0, 0, 255, 0, 0, 0)], []),
    ("not-permitted", [_address(10, 0, 0, 0, 255, 0, 0, 0)], []),
    ("excluded", [], [_address(127, 0, 0, 1, 255, 255, 255, 255)]),
    ("names-permitted", ["example.com"], []),
    ("version-6-excluded", [], [_address(*[0] * 32)]),
)
for _name, _inside, _outside in _ADDRESSES:
    _add(
        f"address-{_name}", _permitted, _excluded, host="127.0.0.1", names=[_address(127, 0, 0, 1)]
    )
_add("address-of-five-bytes", [_address(1, 2, 3, 4, 5)])
_add("address-with-odd-mask", [_address(127, 0, 0, 0, 255, 0, 255, 0)])
_add("address-with-odd-mask-excluded", [], [_address(10, 0, 0, 0, 255, 0, 255, 0)])

# Other kinds of names: (permitted, excluded, further names of the leaf)
_KINDS: dict[str, tuple[_Subtrees, _Subtrees, _Subtrees]] = {
    "mail-permitted": ([_mail(_DOMAIN)], [], [_mail(f"a@{_DOMAIN}")]),
    "mail-not-permitted": ([_mail(_DOMAIN)], [], [_mail("a@example.com")]),
    "mail-excluded": ([], [_mail(_DOMAIN)], [_mail(f"a@{_DOMAIN}")]),
    "mail-of-one-user": ([_mail(f"a@{_DOMAIN.upper()}")], [], [_mail(f"a@{_DOMAIN}")]),
    "mail-of-one-user-in-capitals": ([_mail(f"a@{_DOMAIN}")], [], [_mail(f"A@{_DOMAIN}")]),
    "mail-with-dot": ([_mail(f".{_DOMAIN}")], [], [_mail(f"a@b.{_DOMAIN}")]),
    "uri-excluded": ([], [tlv(0x86, b".example.com")], [tlv(0x86, b"https://a.test/")]),
    "other-name-only-in-leaf": ([_DOMAIN], [], [_OTHER_NAME]),
    "other-name-permitted": ([_OTHER_NAME], [], []),
    "other-name-excluded": ([], [_OTHER_NAME], [_OTHER_NAME]),
    "directory-empty": ([tlv(0xA4, der.seq())], [], []),
    "directory-empty-excluded": ([], [tlv(0xA4, der.seq())], []),
    "directory-of-leaf": (
        [tlv(0xA4, der.common_name("DIRECTORY-OF-LEAF.constraints.test", 0x13))],
        [],
        [],
    ),
}
for _name, (_inside, _outside, _more) in _KINDS.items():
    _add(_name, _inside, _outside, names=[f"{_name}.{_DOMAIN}", *_more])


# What cannot be read
def _subtree(*more: bytes) -> bytes:
    return der.extension(
        "2.5.29.30", der.seq(tlv(0xA0, der.seq(tlv(0x82, _DOMAIN.encode()), *more))), True
    )


_add("subtree-minimum-0", extension=_subtree(tlv(0x80, b"\0")))
_add("subtree-minimum-1", extension=_subtree(tlv(0x80, b"\1")), test=True)
_add("subtree-maximum", extension=_subtree(tlv(0x81, b"\5")))
_add("subtree-malformed", extension=der.extension("2.5.29.30", b"\x30\x05", True))


# Where they stand
def _two(name: str, upper: bytes, lower: bytes) -> None:
    """Add a leaf under two intermediates with constraints."""

    def build(host: str) -> Leaf:
        above = ca(f"Upper {name}", ROOT, extensions={"x": upper})
        return leaf(host, issuer=ca(f"Lower {name}", above, extensions={"x": lower}))

    GROUP.add(name, build, relative=True)


_two("upper-excludes", der.name_constraints([], [_DOMAIN]), der.name_constraints([_DOMAIN]))
_two("upper-permits-more", der.name_constraints(["test"]), der.name_constraints([_DOMAIN]))
_two("upper-permits-another", der.name_constraints(["test"]), der.name_constraints(["example.com"]))
_two("upper-permits-no-name-of-the-ca", der.name_constraints([_DOMAIN]), der.san("ca.example.com"))


def _root(name: str, constraint: bytes, *names: bytes | str) -> None:
    """Add a leaf under a root with constraints."""

    def build(host: str) -> Trusted:
        root = ca(f"Constrained {name}", extensions={"x": constraint})
        san = der.san(host, *names)
        return Trusted(leaf(host, issuer=root, extensions={"san": san}), trusts(root))

    GROUP.add(name, build, relative=True)


_root("root-excludes-part", der.name_constraints([], [f"a.r.{_DOMAIN}"]), f"*.r.{_DOMAIN}")
_root("root-with-dot-at-end", der.name_constraints([f"{_DOMAIN}."]))
_root("root-minimum", _subtree(tlv(0x80, b"\1")))
