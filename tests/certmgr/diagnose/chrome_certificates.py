"""Purposes, names, malformed certificates and chains, with the error page of Chromium for each."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from tests.certmgr.diagnose.chrome_situation import (
    AUTHORITY,
    BAD_FORMAT,
    DATE,
    HOST,
    INVALID,
    NAME,
    PROTOCOL,
    SAN,
    Situation,
    unsent,
    with_value,
)
from tests.certmgr.odd_chains import (
    Extension,
    names,
    purpose,
    raw,
    site,
    version,
)


def purposes() -> Iterator[Situation]:
    client, any_purpose = purpose(Purpose.CLIENT_AUTH), purpose(Purpose.ANY_EXTENDED_KEY_USAGE)
    mail = purpose(Purpose.EMAIL_PROTECTION, Purpose.CODE_SIGNING)
    for label, extension, error in (
        ("clients", client, INVALID),
        ("mail and code", mail, INVALID),
        ("any purpose", any_purpose, ""),
    ):
        yield Situation(
            f"leaf for {label}",
            error,
            with_value(extension, lambda a, e: site(a.issuer.leaf(SAN, e, server=False))),
        )
        yield Situation(
            f"issuer for {label}",
            error,
            with_value(
                (extension, label),
                lambda a, pair: site(a.root.below(f"Issuer for {pair[1]}", pair[0]).leaf(SAN)),
            ),
        )
    yield Situation(
        "leaf for clients, and expired",
        DATE,
        lambda a: site(a.issuer.leaf(SAN, client, server=False, start=-90, end=-1)),
    )
    yield Situation(
        "leaf for clients, and for another name",
        INVALID,
        lambda a: site(a.issuer.leaf(names("other.test"), client, server=False)),
    )


def certificate_names() -> Iterator[Situation]:
    for listed, host, error in (
        ("dns:127.0.0.1", "127.0.0.1", NAME),
        ("dns:*.0.0.1", "127.0.0.1", NAME),
        ("127.0.0.1", "127.0.0.1", ""),
        ("*.plesk.page", "quick-shop.plesk.page", ""),
        ("*.github.io", "project.github.io", ""),
        ("*.azurewebsites.net", "shop.azurewebsites.net", ""),
        ("*.s3.amazonaws.com", "files.s3.amazonaws.com", ""),
        ("*.co.uk", "shop.co.uk", NAME),
        ("*.kawasaki.jp", "city.kawasaki.jp", NAME),
        ("*.ward.kawasaki.jp", "shop.ward.kawasaki.jp", NAME),
        ("*.city.kawasaki.jp", "shop.city.kawasaki.jp", ""),
        ("*.intranet", "wiki.intranet", NAME),
        ("*.site.intranet", "wiki.site.intranet", ""),
        ("*.example.test", "a.b.example.test", NAME),
        ("*.example.test", "example.test", NAME),
        ("sh*.example.test", HOST, NAME),
        (f"{HOST}.", HOST, ""),
    ):
        yield Situation(
            f"{listed} for {host}",
            error,
            with_value(listed, lambda a, n: site(a.issuer.leaf(names(n)))),
            host,
        )
    yield Situation("no SAN", NAME, lambda a: site(a.issuer.leaf(None, subject=HOST)))
    yield Situation(
        "another name, and expired",
        NAME,
        lambda a: site(a.issuer.leaf(names("other.test"), start=-90, end=-1)),
    )


def malformed() -> Iterator[Situation]:
    garbage = "0500"
    san = x509.ObjectIdentifier("2.5.29.17").dotted_string
    parts: tuple[tuple[str, str, str, str], ...] = (
        ("basic constraints", "2.5.29.19", garbage, INVALID),
        ("basic constraints with an explicit FALSE", "2.5.29.19", "3003010100", ""),
        ("AIA", "1.3.6.1.5.5.7.1.1", garbage, INVALID),
        ("authority key identifier", "2.5.29.35", garbage, INVALID),
        ("policies", "2.5.29.32", garbage, INVALID),
        ("the same policy twice", "2.5.29.32", "300c300406022903300406022903", INVALID),
        ("CRL distribution points", "2.5.29.31", garbage, ""),
        ("issuer alternative name", "2.5.29.18", garbage, ""),
        ("key usage", "2.5.29.15", garbage, PROTOCOL),
    )
    for label, oid, value, error in parts:
        yield Situation(
            f"malformed: {label}",
            error,
            with_value(raw(oid, value), lambda a, e: site(a.issuer.leaf(SAN, e))),
        )
    host = HOST.encode().hex()
    dns = f"82{len(HOST):02x}{host}"
    sans: tuple[tuple[str, str, str], ...] = (
        ("garbage", garbage, INVALID),
        ("empty", "3000", INVALID),
        ("with an address of 5 bytes", f"30{len(HOST) + 9:02x}{dns}87053132333435", INVALID),
        ("with an X.400 address", f"30{len(HOST) + 6:02x}{dns}a3023000", ""),
    )
    for label, value, error in sans:
        extension: Extension = raw(san, value)
        yield Situation(
            f"SAN {label}",
            error,
            with_value(extension, lambda a, e: site(a.issuer.leaf(e))),
        )
    yield Situation("empty subject", INVALID, lambda a: site(a.issuer.leaf(SAN, subject="")))
    unknown = raw("1.2.3.4.5", "0500", critical=True)
    yield Situation(
        "unknown critical extension", INVALID, lambda a: site(a.issuer.leaf(SAN, unknown))
    )
    yield Situation(
        "unknown critical extension of the issuer",
        INVALID,
        lambda a: site(a.root.below("Issuer critical", unknown).leaf(SAN)),
    )
    points = raw(
        "2.5.29.31",
        "301d301ba019a0178615" + b"http://crl.test/a.crl".hex(),
        critical=True,
    )
    yield Situation(
        "critical CRL distribution points", INVALID, lambda a: site(a.issuer.leaf(SAN, points))
    )
    yield Situation(
        "extensions of the issuer cannot be read",
        AUTHORITY,
        lambda a: site(a.root.below("Issuer garbage", raw(san, garbage)).leaf(SAN)),
    )
    for number in (0, 1, 7):
        yield Situation(
            f"extensions in a certificate with version field {number}",
            BAD_FORMAT,
            with_value(number, lambda a, n: site(a.issuer.leaf(SAN, edit=version(n)))),
        )
    yield Situation(
        "no certificate but zeros", PROTOCOL, lambda a: site((a.rsa_key, [b"\0" * 500]))
    )
    yield Situation(
        "truncated",
        PROTOCOL,
        lambda a: site((a.rsa_key, [a.issuer.leaf(SAN)[1][0][:-40], a.issuer.der])),
    )


def chains() -> Iterator[Situation]:
    yield Situation("good", "", lambda a: site(a.issuer.leaf(SAN)))
    yield Situation(
        "issuer not sent", AUTHORITY, lambda a: site(unsent(a.root.below("Unsent").leaf(SAN)))
    )
    yield Situation("unknown root", AUTHORITY, lambda a: site(a.unknown.leaf(SAN)))
    yield Situation(
        "unknown root, and expired",
        AUTHORITY,
        lambda a: site(a.unknown.leaf(SAN, start=-90, end=-1)),
    )
    yield Situation("expired", DATE, lambda a: site(a.issuer.leaf(SAN, start=-90, end=-1)))
    yield Situation("not yet valid", DATE, lambda a: site(a.issuer.leaf(SAN, start=2)))
    yield Situation(
        "issuer expired", DATE, lambda a: site(a.root.below("Expired", end=-1).leaf(SAN))
    )
    yield Situation(
        "issuer not yet valid", DATE, lambda a: site(a.root.below("Future", start=1).leaf(SAN))
    )
    yield Situation(
        "issuer not yet valid, and another name",
        NAME,
        lambda a: site(a.root.below("Future", start=1).leaf(names("other.test"))),
    )
    constraint = (x509.NameConstraints([x509.DNSName("other.test")], None), True)
    yield Situation(
        "outside the name constraints",
        INVALID,
        lambda a: site(a.root.below("Constrained", constraint).leaf(SAN)),
    )
