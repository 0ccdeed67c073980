"""Situations of private CAs: what companies, recipes and test tools make."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import Ca, Leaf, Trust, authority_key, ca, days, leaf, trusts
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("private-cas")


def _add(
    name: str,
    root: Mapping[str, Any] | None = None,
    intermediate: Mapping[str, Any] | None = None,
    *,
    relative: bool = False,
    **leaf_fields: Any,
) -> None:
    """Add a leaf under a private root.

    Args:
        name: The name of the situation.
        root: Fields of the root.
        intermediate: Fields of an intermediate; None: there is none.
        relative: Whether only ``make soak`` judges it.
        leaf_fields: Fields of the leaf.
    """

    def build(host: str) -> Trusted:
        anchor = ca(f"Private {name}", **(root or {}))
        issuer = anchor
        if intermediate is not None:
            issuer = ca(f"Private issuer {name}", anchor, **intermediate)
        return Trusted(leaf(host, issuer=issuer, **leaf_fields), trusts(anchor))

    GROUP.add(name, build, relative=relative)


_NOTHING: dict[str, Any] = dict.fromkeys(("basic", "usage", "ski", "aki"))
_BARE: dict[str, Any] = dict.fromkeys(("usage", "eku", "basic", "ski", "aki"))

_add("plain")
_add("with-intermediate", intermediate={})
_add("root-version-1", root={"version": None, "extensions": _NOTHING})
_add(
    "root-version-1-with-intermediate",
    root={"version": None, "extensions": _NOTHING},
    intermediate={},
)
_add("root-without-extensions", root={"extensions": _NOTHING})
_add(
    "root-basic-constraints-not-critical",
    root={"extensions": {"basic": der.basic_constraints(True, critical=False)}},
)
_add("root-without-key-usage", root={"extensions": {"usage": None}})
_add("root-without-key-identifier", root={"extensions": {"ski": None}})
_add("root-key-usage-without-signing", root={"extensions": {"usage": der.key_usage(0)}})
_add("root-is-no-ca", root={"extensions": {"basic": der.basic_constraints(False)}})
_add("root-path-length-zero", root={"extensions": {"basic": der.basic_constraints(True, 0)}})
_add(
    "root-path-length-zero-exceeded",
    root={"extensions": {"basic": der.basic_constraints(True, 0)}},
    intermediate={},
)
_add("root-rsa1024", root={"kind": "rsa1024 root"})
_add("root-rsa2048-sha1", root={"kind": "rsa2048 private", "digest": "sha1"})
_add("root-rsa4096-md5", root={"kind": "rsa2048 private", "digest": "md5"})
_add("root-p521", root={"kind": "p521 root"})
_add("root-serial-negative", root={"serial": -3})
_add("root-serial-zero", root={"serial": 0})
_add("root-serial-30-bytes", root={"serial": int.from_bytes(b"\x55" * 30, "big")})
_add("root-expired", root={"begin": days(-900), "end": days(-4)})
_add("root-expired-with-intermediate", root={"end": days(-4)}, intermediate={})
_add(
    "root-for-servers-only",
    root={"extensions": {"eku": der.extended_key_usage("1.3.6.1.5.5.7.3.1")}},
)
_add(
    "root-for-clients-only",
    root={"extensions": {"eku": der.extended_key_usage("1.3.6.1.5.5.7.3.2")}},
)
_add("leaf-without-authority-key", extensions={"aki": None})
_add("leaf-without-key-identifier", extensions={"ski": None})
_add("leaf-bare", extensions=_BARE)
_add("leaf-bare-with-intermediate", intermediate={}, extensions=_BARE)
_add("leaf-serial-negative", serial=-9)
_add("leaf-serial-30-bytes", serial=int.from_bytes(b"\x44" * 30, "big"))
_add("leaf-valid-for-twenty-years", begin=days(-100), end=days(7000))
_add("leaf-expired", begin=days(-100), end=days(-1))
_add("leaf-generalized-before-2050", end=der.generalized_time(days(80)))
_add("leaf-is-ca", extensions={"basic": der.basic_constraints(True)})
_add("leaf-purpose-client", extensions={"eku": der.extended_key_usage("1.3.6.1.5.5.7.3.2")})
_add("leaf-rsa1024", kind="rsa1024 leaf")
_add("leaf-sha1", root={"kind": "rsa2048 private"}, digest="sha1")
_add("leaf-pss", root={"kind": "rsa2048 private"}, pss=True)
_add("intermediate-without-basic-constraints", intermediate={"extensions": {"basic": None}})
_add(
    "intermediate-basic-constraints-not-critical",
    intermediate={"extensions": {"basic": der.basic_constraints(True, critical=False)}},
)
_add("intermediate-bare", intermediate={"extensions": {"usage": None, "ski": None, "aki": None}})
_add("intermediate-expired", intermediate={"end": days(-6)})
for _name, _constraint in {
    "dotted": ".private-cas.test",
    "plain": "private-cas.test",
    "other": "example.com",
    "dotted-other": ".example.com",
}.items():
    _add(
        f"root-constraint-{_name}", root={"extensions": {"x": der.name_constraints([_constraint])}}
    )
    _add(
        f"intermediate-constraint-{_name}",
        intermediate={"extensions": {"x": der.name_constraints([_constraint])}},
    )
GROUP.add(
    "san-critical-with-subject",
    lambda host: Trusted(
        leaf(
            host,
            issuer=(root := ca("Private critical san")),
            extensions={"san": der.san(host, critical=True)},
        ),
        trusts(root),
    ),
)


def _openssl_recipe(host: str) -> Trusted:
    """``openssl req -x509``, and a leaf by ``openssl x509 -req -copy_extensions``."""
    root = ca(
        "My Company",
        kind="rsa2048 recipe",
        extensions={"usage": None, "aki": None},
        digest="sha256",
    )
    changes: dict[str, bytes | None] = dict.fromkeys(("usage", "eku", "basic", "aki"))
    return Trusted(leaf(host, issuer=root, kind="rsa2048 leaf", extensions=changes), trusts(root))


GROUP.add("openssl-recipe", _openssl_recipe)


def _authority_key_with_serial(host: str) -> Trusted:
    """The AKI of openssl's ``authorityKeyIdentifier = keyid,issuer``."""
    root = ca("Private with issuer and serial", serial=77)
    value = der.seq(
        tlv(0x80, authority_key(root.public)[-20:]),
        tlv(0xA1, tlv(0xA4, root.name)),
        tlv(0x82, b"\x4d"),
    )
    changes = {"aki": der.extension("2.5.29.35", value)}
    return Trusted(leaf(host, issuer=root, extensions=changes), trusts(root))


GROUP.add("authority-key-with-issuer-and-serial", _authority_key_with_serial)


def _trustme(host: str) -> Trusted:
    authority = trustme.CA()
    issued = authority.issue_cert(host)
    chain = tuple(
        x509.load_pem_x509_certificate(b.bytes()).public_bytes(serialization.Encoding.DER)
        for b in issued.cert_chain_pems
    )
    root = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    trust = Trust(root.public_bytes(serialization.Encoding.DER))
    return Trusted(Leaf(chain, issued.private_key_pem.bytes()), [trust])


GROUP.add("trustme", _trustme)


def _pinned(flags: str, **fields: Any) -> Any:
    def build(host: str) -> Trusted:
        made = leaf(host, self_signed=True, **fields)
        return Trusted(made, [Trust(made.chain[0], flags)])

    return build


_CA = {"basic": der.basic_constraints(True), "usage": None}
GROUP.add("pinned-as-server", _pinned("P,,"))
GROUP.add("pinned-as-ca", _pinned("C,,", extensions=_CA))
GROUP.add("pinned-bare", _pinned("P,,", extensions=_BARE))
GROUP.add("pinned-expired", _pinned("P,,", begin=days(-90), end=days(-2)))
GROUP.add(
    "pinned-of-another-name",
    lambda host: Trusted(
        (made := leaf("other.test", self_signed=True)), [Trust(made.chain[0], "P,,")]
    ),
)


_POLICIES = der.extension(
    "1.3.6.1.4.1.311.21.10", der.seq(der.seq(der.oid("1.3.6.1.5.5.7.3.1"))), True
)
_UNKNOWN = der.extension("1.3.6.1.4.1.9.1", der.NULL, True)
for _flags, _kind in {"P,,": "server", "C,,": "ca"}.items():
    _base: dict[str, bytes | None] = {**_CA} if _kind == "ca" else {}
    _critical: dict[str, dict[str, bytes | None]] = {
        "policies-critical": {"x": _POLICIES},
        "policies-critical-without-purpose": {"x": _POLICIES, "eku": None},
        "unknown-critical": {"x": _UNKNOWN},
    }
    for _name, _changes in _critical.items():
        GROUP.add(
            f"pinned-as-{_kind}-{_name}",
            _pinned(_flags, extensions=_base | _changes),
            relative=True,
        )


# Roots without a name
def _nameless(intermediate: bool, host: str) -> Trusted:
    subject = der.seq()
    made = ca("Private nameless", subject=subject, issuer=subject)
    root = Ca(subject, made.der, made.key)
    issuer = ca("Below a nameless root", root) if intermediate else root
    return Trusted(leaf(host, issuer=issuer), trusts(root))


def _nameless_intermediate(host: str) -> Trusted:
    root = ca("Private above a nameless intermediate")
    made = ca("Private nameless intermediate", root, subject=der.seq())
    issuer = Ca(der.seq(), made.der, made.key, root)
    return Trusted(leaf(host, issuer=issuer), trusts(root))


GROUP.add("root-nameless", partial(_nameless, False), relative=True)
GROUP.add("root-nameless-with-intermediate", partial(_nameless, True), relative=True)
GROUP.add("intermediate-nameless", _nameless_intermediate, relative=True)
GROUP.add("leaf-nameless-pinned", _pinned("P,,", subject=der.seq(), extensions={}), relative=True)


def _root_missing_intermediate(host: str) -> Trusted:
    root = ca("Private without intermediate")
    return Trusted(leaf(host, issuer=ca("Private not sent", root)).sent_with(), trusts(root))


GROUP.add("intermediate-not-sent", _root_missing_intermediate)


def _two_roots(host: str) -> Trusted:
    """The root was renewed with the same key and name; both are in the file."""
    old = ca("Private renewed", begin=days(-900), end=days(-9))
    new = ca("Private renewed")
    return Trusted(leaf(host, issuer=new), trusts(old, new))


GROUP.add("root-renewed-with-the-same-key", _two_roots)

# Roots that OpenSSL does not accept as a CA, and browsers do
_add(
    "root-without-extensions-with-intermediate",
    root={"extensions": _NOTHING},
    intermediate={},
)
_add(
    "root-without-extensions-expired",
    root={"extensions": _NOTHING, "begin": days(-900), "end": days(-4)},
)
_add(
    "root-without-extensions-not-sent-intermediate-constraint",
    root={"extensions": _NOTHING},
    intermediate={"extensions": {"x": der.name_constraints(["example.com"])}},
)
_add("root-without-basic-constraints", root={"extensions": {"basic": None}})
_add("root-policy-required", root={"extensions": {"x": der.require_policy()}})
_add(
    "root-unknown-critical", root={"extensions": {"x": der.extension("1.3.6.1.4.1.9.1", b"", True)}}
)
_add(
    "root-without-extensions-leaf-of-another-name",
    root={"extensions": _NOTHING},
    extensions={"san": der.san("other.example.com")},
)

# Roots that browsers cannot read, and so do not know
for _name, _oid in {"policies": "2.5.29.32", "san": "2.5.29.17", "basic": "2.5.29.19"}.items():
    _add(
        f"root-malformed-{_name}",
        relative=_name != "san",
        root={"extensions": {_name: der.extension(_oid, b"\x30\x03\x02\x01")}},
        intermediate={},
    )
