"""Situations of private CAs: recipes of common tools, cross-signed roots, pinned certificates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import (
    CLIENT_AUTH,
    SERVER_AUTH,
    Ca,
    Leaf,
    Trust,
    ca,
    days,
    key_identifier,
    leaf,
    private_pem,
    trusts,
)
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("recipes")
Extensions = Mapping[str, bytes | None]
_ATTRIBUTES = {"C": "2.5.4.6", "O": "2.5.4.10", "OU": "2.5.4.11", "CN": "2.5.4.3"}
_ATTRIBUTES |= {"DC": "0.9.2342.19200300.100.1.25"}


def _add(name: str, build: Callable[[str], Trusted], *, test: bool = False) -> None:
    GROUP.add(name, build, relative=not test)


def _name(*pairs: tuple[str, str]) -> bytes:
    tags = {"C": 0x13, "DC": 0x16}
    return der.seq(
        *(
            tlv(0x31, der.seq(der.oid(_ATTRIBUTES[k]), tlv(tags.get(k, 0x0C), v.encode())))
            for k, v in pairs
        )
    )


def _root(text: str, *pairs: tuple[str, str], **fields: Any) -> Ca:
    """Make a root with a name of several parts."""
    name = _name(*pairs)
    return replace(ca(text, subject=name, issuer=name, **fields), name=name)


def _other_key(root: Ca, serial: int) -> bytes:
    """Return an AKI with key, issuer and serial number."""
    number = b"\x82" + der.integer(serial)[1:]
    key = tlv(0x80, key_identifier(root.public))
    return der.extension("2.5.29.35", der.seq(key, tlv(0xA1, tlv(0xA4, root.name)), number))


# Tools
def _openssl_ca(host: str) -> Trusted:
    """``openssl ca`` with the configuration of Debian."""
    company = (("C", "AU"), ("O", "Internet Widgits Pty Ltd"))
    root = _root(
        "Widgits",
        *company,
        ("CN", "Widgits CA"),
        kind="rsa2048 widgits",
        extensions={"usage": None},
    )
    comment = der.extension("2.16.840.1.113730.1.13", tlv(0x16, b"OpenSSL Generated Certificate"))
    changes: Extensions = {"usage": None, "eku": None, "comment": comment}
    subject = _name(*company, ("CN", host))
    made = leaf(host, issuer=root, kind="rsa2048 leaf", subject=subject, extensions=changes)
    return Trusted(made, trusts(root))


def _easy_rsa(serial: int) -> Callable[[str], Trusted]:
    def build(host: str) -> Trusted:
        root = ca(
            f"Easy-RSA CA {serial}",
            kind="rsa2048 easy",
            serial=0x5A5A,
            extensions={
                "basic": der.basic_constraints(True, critical=False),
                "usage": der.key_usage(5, 6, critical=False),
            },
        )
        changes = {
            "aki": _other_key(root, serial),
            "usage": der.key_usage(0, 2, critical=False),
            "basic": der.basic_constraints(False, critical=False),
        }
        made = leaf(host, issuer=root, kind="rsa2048 leaf", extensions=changes)
        return Trusted(made, trusts(root))

    return build


def _step_ca(host: str) -> Trusted:
    root = ca("Steps Root CA", extensions={"basic": der.basic_constraints(True, 1)})
    issuer = ca("Steps Issuer", root, extensions={"basic": der.basic_constraints(True, 0)})
    content = der.seq(der.integer(1), tlv(4, b"admin"), tlv(4, b"key"))
    changes: Extensions = {
        "san": der.san(host, critical=True),
        "eku": der.extended_key_usage(SERVER_AUTH, CLIENT_AUTH),
        "basic": None,
        "provisioner": der.extension("1.3.6.1.4.1.37476.9000.64.1", content),
    }
    made = leaf(host, issuer=issuer, subject=der.seq(), end=days(1), extensions=changes)
    return Trusted(made, trusts(root))


def _mkcert(host: str) -> Trusted:
    user = ("OU", "me@host")
    root = _root(
        "mkcert",
        ("O", "mkcert development CA"),
        user,
        kind="rsa3072 mkcert",
        extensions={"basic": der.basic_constraints(True, 0), "usage": der.key_usage(5)},
    )
    made = leaf(
        *(host, "localhost", "127.0.0.1", "::1"),
        issuer=root,
        kind="rsa2048 leaf",
        subject=_name(("O", "mkcert development certificate"), user),
        end=days(820),
        extensions={"basic": None, "ski": None},
    )
    return Trusted(made, trusts(root))


_add("openssl-ca", _openssl_ca)
_add("easy-rsa", _easy_rsa(0x5A5A))
_add("easy-rsa-serial-of-another", _easy_rsa(0x1111), test=True)
_add("step-ca", _step_ca)
_add("mkcert", _mkcert)

# The CA of Windows Server
_MICROSOFT = "1.3.6.1.4.1.311"
_LDAP = tlv(0x86, b"ldap:///CN=Corp,DC=corp,DC=local?cACertificate?base?objectClass=x")
_TEMPLATE = der.seq(der.oid(f"{_MICROSOFT}.21.8.1.2.3"), der.integer(100), der.integer(5))
_SECURITY_ID = der.seq(tlv(0xA0, der.oid(f"{_MICROSOFT}.25.2.1") + tlv(0xA0, tlv(4, b"S-1-5-21"))))
_WINDOWS = {
    "template": (f"{_MICROSOFT}.21.7", _TEMPLATE),
    "application-policies": (f"{_MICROSOFT}.21.10", der.seq(der.seq(der.oid(SERVER_AUTH)))),
    "distribution-points": ("2.5.29.31", der.seq(der.seq(tlv(0xA0, tlv(0xA0, _LDAP))))),
    "authority-access": (
        "1.3.6.1.5.5.7.1.1",
        der.seq(der.seq(der.oid("1.3.6.1.5.5.7.48.2"), _LDAP)),
    ),
    "security-id": (f"{_MICROSOFT}.25.2", _SECURITY_ID),
}


def _windows(critical: str, **more: bytes | None) -> Callable[[str], Trusted]:
    def build(host: str) -> Trusted:
        root = _root(
            "Corp CA",
            *(("DC", "local"), ("DC", "corp"), ("CN", "Corp CA")),
            kind="rsa2048 corp",
            extensions={
                "usage": der.key_usage(0, 5, 6, critical=False),
                "version": der.extension(f"{_MICROSOFT}.21.1", der.integer(0)),
            },
        )
        changes: dict[str, bytes | None] = {
            name: der.extension(*extension, name == critical)
            for name, extension in _WINDOWS.items()
        }
        changes |= {"usage": der.key_usage(0, 2, critical=False), "basic": None, **more}
        made = leaf(host, issuer=root, kind="rsa2048 leaf", extensions=changes)
        return Trusted(made, trusts(root))

    return build


_add("windows", _windows(""))
for _critical in _WINDOWS:
    # Chromium accepts one of them, if there is an extended key usage.
    _add(f"{_critical}-critical", _windows(_critical), test=_critical == "application-policies")
_add(
    "windows-purposes-critical",
    _windows("", eku=der.extended_key_usage(SERVER_AUTH, critical=True)),
)


def _policies(
    *purposes: str, of_leaf: Extensions | None, of_issuer: Extensions | None = None
) -> Callable[[str], Trusted]:
    """Return a leaf or an issuer with critical application policies."""
    value = der.seq(*(der.seq(der.oid(p)) for p in purposes))
    own: dict[str, bytes | None] = {"x": der.extension(f"{_MICROSOFT}.21.10", value, True)}

    def build(host: str) -> Trusted:
        root = ca("Policies Root")
        issuer = root
        if of_issuer is not None:
            issuer = ca(f"Policies Issuer {host}", root, extensions=own | dict(of_issuer))
        changes = own | dict(of_leaf) if of_leaf is not None else None
        return Trusted(leaf(host, issuer=issuer, extensions=changes), trusts(root))

    return build


_FOR_SERVERS = {"eku": der.extended_key_usage(SERVER_AUTH)}
_add("policies-without-purpose", _policies(SERVER_AUTH, of_leaf={"eku": None}))
_add("policies-other-than-purpose", _policies(CLIENT_AUTH, of_leaf={}))
_add("policies-of-issuer", _policies(SERVER_AUTH, of_leaf=None, of_issuer=_FOR_SERVERS))
_add("policies-of-issuer-without-purpose", _policies(SERVER_AUTH, of_leaf=None, of_issuer={}))


# Roots that sign each other
def _cross(
    trusted: Sequence[str],
    sent: Sequence[str],
    *,
    old: float = 3650,
    new: float = 3650,
    crossed: float = 3650,
) -> Callable[[str], Trusted]:
    """Return a chain below a new root that an old one has signed; the numbers are their ends."""

    def build(host: str) -> Trusted:
        before = ca(f"Old {host}", end=days(old))
        after = ca(f"New {host}", end=days(new))
        signed = ca(f"New {host}", before, kind=f"p256 New {host}", end=days(crossed))
        issuer = ca(f"Below {host}", after)
        every = {"issuer": issuer, "cross": signed, "new": after, "old": before}
        made = leaf(host, issuer=issuer).sent_with(*(every[s].der for s in sent))
        return Trusted(made, trusts(*(every[t] for t in trusted)))

    return build


_add("cross-old-only", _cross(["old"], ["issuer", "cross"]))
_add("cross-new-only", _cross(["new"], ["issuer", "cross"]))
_add("cross-both", _cross(["old", "new"], ["issuer", "cross"]))
_add("cross-old-expired", _cross(["old", "new"], ["issuer", "cross"], old=-3))
_add("cross-expired-new-trusted", _cross(["new"], ["issuer", "cross"], crossed=-3))
_add("cross-expired-old-trusted", _cross(["old"], ["issuer", "cross"], crossed=-3))
_add("cross-not-sent", _cross(["old"], ["issuer"]))
_add("cross-root-sent-instead", _cross(["old"], ["issuer", "new"]))
_add("cross-new-expired", _cross(["old", "new"], ["issuer", "cross", "new"], new=-2))


def _each_other(host: str) -> Trusted:
    one, two = ca(f"One {host}"), ca(f"Two {host}")
    by_two = ca(f"One {host}", two, kind=f"p256 One {host}")
    by_one = ca(f"Two {host}", one, kind=f"p256 Two {host}")
    return Trusted(leaf(host, issuer=one).sent_with(by_two.der, by_one.der), trusts(two))


_add("cross-each-other", _each_other)


# Path lengths
def _depth(*lengths: int | None, self_issued: bool = False) -> Callable[[str], Trusted]:
    """Return a chain of CAs with these lengths, the root first."""

    def build(host: str) -> Trusted:
        at: Ca | None = None
        for number, length in enumerate(lengths):
            text = f"Depth {'' if self_issued and number < 2 else number} {host}"
            basic = {"basic": der.basic_constraints(True, length)}
            at = ca(text, at, kind=f"p256 {number} {host}", extensions=basic)
        assert at is not None
        top = at
        while top.parent is not None:
            top = top.parent
        return Trusted(leaf(host, issuer=at), trusts(top))

    return build


_add("depth-one-and-one", _depth(1, 0))
_add("depth-one-and-two", _depth(1, None, None))
_add("depth-below-zero", _depth(None, 0, None))
_add("depth-self-issued-below-zero", _depth(0, None, self_issued=True))
_add("depth-self-issued-and-one-below-zero", _depth(0, None, None, self_issued=True))
_add("depth-large", _depth(127, 200, 0))


# Certificates and intermediates that the administrator trusts themselves
def _pinned(flags: str = "P,,", **fields: Any) -> Callable[[str], Trusted]:
    def build(host: str) -> Trusted:
        made = leaf(host, self_signed=True, **fields)
        return Trusted(made, [Trust(made.chain[0], flags)])

    return build


_OF_CA: Extensions = {"basic": der.basic_constraints(True), "usage": None}
_FOR_CLIENTS: Extensions = {"eku": der.extended_key_usage(CLIENT_AUTH)}
_add("pinned-sha1", _pinned(digest="sha1", kind="rsa2048 pin"), test=True)
_add(
    "pinned-sha1-as-ca-too",
    _pinned("CP,,", digest="sha1", kind="rsa2048 pin", extensions=_OF_CA),
)
_add("pinned-for-clients", _pinned(extensions=_FOR_CLIENTS))
_add("pinned-for-clients-as-ca", _pinned("C,,", extensions={**_OF_CA, **_FOR_CLIENTS}))
_add("pinned-without-purpose", _pinned(extensions={"eku": None}))
_add("pinned-ca", _pinned(extensions={"usage": der.key_usage(5), **_OF_CA}))
_add("pinned-ca-for-signing-only", _pinned(extensions={**_OF_CA, "usage": der.key_usage(5)}))
_add("pinned-rsa1024", _pinned(kind="rsa1024 pin"))
_add("pinned-not-yet-valid", _pinned(begin=days(2)))
_add("pinned-common-name-only", _pinned(extensions={"san": None}))
_add("pinned-constraint", _pinned(extensions={"x": der.name_constraints(["example.com"])}))
_add("pinned-wrong-signature", _pinned(signature_value=b"\x30\x06\2\1\1\2\1\1"))


def _pinned_leaf(**fields: Any) -> Callable[[str], Trusted]:
    """Return a trusted leaf of a CA that is not trusted."""

    def build(host: str) -> Trusted:
        made = leaf(host, issuer=ca(f"Unknown {host}", kind="rsa2048 unknown"), **fields)
        return Trusted(made, [Trust(made.chain[0], "P,,")])

    return build


_add("pinned-leaf", _pinned_leaf())
_add("pinned-leaf-expired", _pinned_leaf(begin=days(-9), end=days(-1)))
_add("pinned-leaf-sha1", _pinned_leaf(digest="sha1"))


def _anchor(
    *sent: str, root: Mapping[str, Any] | None = None, issuer: Mapping[str, Any] | None = None
) -> Callable[[str], Trusted]:
    """Return a chain whose intermediate is trusted, and not its root."""

    def build(host: str) -> Trusted:
        top = ca(f"Top {host}", **(root or {}))
        below = ca(f"Anchor {host}", top, **(issuer or {}))
        every = {"issuer": below.der, "root": top.der}
        made = leaf(host, issuer=below).sent_with(*(every[s] for s in sent))
        return Trusted(made, trusts(below))

    return build


_add("anchor-below-root", _anchor("issuer"))
_add("anchor-not-sent", _anchor())
_add("anchor-with-root", _anchor("issuer", "root"))
_add("anchor-expired", _anchor("issuer", issuer={"end": days(-2)}))
_add("anchor-below-expired-root", _anchor("issuer", "root", root={"end": days(-2)}))
_add("anchor-sha1", _anchor("issuer", root={"kind": "rsa2048 top"}, issuer={"digest": "sha1"}))
_add(
    "anchor-is-no-ca",
    _anchor("issuer", issuer={"extensions": {"basic": der.basic_constraints(False)}}),
)


# Names and keys of roots
def _issuer_name(of_root: bytes, in_leaf: bytes) -> Callable[[str], Trusted]:
    def build(host: str) -> Trusted:
        root = replace(ca(f"Named {host}", subject=of_root, issuer=of_root), name=in_leaf)
        return Trusted(leaf(host, issuer=root), trusts(root))

    return build


_PRINTABLE, _TELETEX = 0x13, 0x14
_add(
    "name-in-another-type",
    _issuer_name(der.common_name("Name A"), der.common_name("Name A", _PRINTABLE)),
)
_add("name-in-another-case", _issuer_name(der.common_name("Name B"), der.common_name("NAME b")))
_add("name-teletex", _issuer_name(*[der.common_name("Name C", _TELETEX)] * 2))


def _rekeyed(*trusted: int) -> Callable[[str], Trusted]:
    """Return a leaf of a root that has changed its key; 0 is the old root."""

    def build(host: str) -> Trusted:
        both = [ca(f"Rekeyed {host}", kind=f"p256 {n} {host}") for n in range(2)]
        return Trusted(leaf(host, issuer=both[1]), trusts(*(both[t] for t in trusted)))

    return build


_add("rekeyed-both", _rekeyed(0, 1))
_add("rekeyed-old-only", _rekeyed(0))
_add("rekeyed-new-only", _rekeyed(1))


def _root_as_leaf(host: str) -> Trusted:
    uses = {"san": der.san(host), "usage": der.key_usage(0, 5)}
    root = ca(f"Root as leaf {host}", extensions=uses)
    return Trusted(Leaf((root.der,), private_pem(root.key)), trusts(root))


_add("root-as-leaf", _root_as_leaf)


def _root_of(kind: str, host: str) -> Trusted:
    root = ca(f"Root {kind}", kind=f"{kind} root")
    return Trusted(leaf(host, issuer=root), trusts(root))


for _kind in ("p224", "dsa", "rsa3072", "secp256k1"):
    _add(f"root-{_kind}", partial(_root_of, _kind))
