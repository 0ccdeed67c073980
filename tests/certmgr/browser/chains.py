"""Situations of the chain: what is sent, intermediates, trust paths."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cache
from ssl import DER_cert_to_PEM_cert
from typing import Any

from cryptography.hazmat.primitives import serialization

from certmgr.demo.servers import Server
from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import (
    ANY_PURPOSE,
    CLIENT_AUTH,
    EMAIL,
    ISSUER,
    ROOT,
    SERVER_AUTH,
    Ca,
    Leaf,
    ca,
    days,
    leaf,
    rsa_issuer,
    rsa_root,
    trusts,
)
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("chains")
_add = GROUP.add


def _under(name: str, *, relative: bool = False, **fields: Any) -> None:
    """Add a leaf under an intermediate with these changes."""
    _add(
        name,
        lambda host: leaf(host, issuer=ca(f"Issuer {name}", ROOT, **fields)),
        relative=relative,
    )


def _under_rsa(name: str, **fields: Any) -> None:
    """Add a leaf under an intermediate that an RSA root signed."""

    def build(host: str) -> Trusted:
        return Trusted(
            leaf(host, issuer=ca(f"Issuer {name}", rsa_root(), **fields)), trusts(rsa_root())
        )

    _add(name, build)


_unknown = ca("Unknown Root")
_unknown_issuer = ca("Unknown Issuer", _unknown)

# What is sent. A missing intermediate has a name of its own: Chromium remembers those that it met.
_add(
    "intermediate-not-sent",
    lambda host: leaf(host, issuer=ca("Issuer not sent", ROOT)).sent_with(),
)
_add(
    "one-of-two-intermediates-not-sent",
    lambda host: leaf(host, issuer=(lower := ca("Lower", ca("Upper not sent", ROOT)))).sent_with(
        lower.der
    ),
)
_add(
    "intermediate-not-sent-url-dead",
    lambda host: leaf(
        host,
        issuer=ca("Issuer with dead URL", ROOT),
        extensions={
            "aia": der.extension(
                "1.3.6.1.5.5.7.1.1",
                der.seq(
                    der.seq(
                        der.oid("1.3.6.1.5.5.7.48.2"),
                        tlv(0x86, b"http://issuer.nowhere.test/issuer.der"),
                    )
                ),
            )
        },
    ).sent_with(),
)
_add("root-sent", lambda host: leaf(host).sent_with(ISSUER.der, ROOT.der))
_add(
    "only-root-sent",
    lambda host: leaf(host, issuer=ca("Not sent, root is", ROOT)).sent_with(ROOT.der),
)
_add("direct-from-root", lambda host: leaf(host, issuer=ROOT))
_add("reversed", lambda host: leaf(host).sent_with(ROOT.der, ISSUER.der))
_add("leaf-twice", lambda host: (x := leaf(host)).sent_with(x.chain[0], ISSUER.der))
_add("surplus-unrelated", lambda host: leaf(host).sent_with(_unknown.der, ISSUER.der))
_add("surplus-expired", lambda host: leaf(host).sent_with(ISSUER.der, ca("Old", end=days(-9)).der))
_add("twenty-surplus", lambda host: leaf(host).sent_with(*[_unknown.der] * 20, ISSUER.der))
_add(
    "another-key-of-the-same-name",
    lambda host: leaf(host).sent_with(ca("Browser Test Issuer", ROOT, kind="p256 other").der),
)
_add(
    "both-keys-of-the-same-name",
    lambda host: leaf(host).sent_with(
        ca("Browser Test Issuer", ROOT, kind="p256 other").der, ISSUER.der
    ),
)


def _deep(host: str, length: int) -> Leaf:
    above = ROOT
    for level in range(length):
        above = ca(f"Level {level} of {length}", above)
    return leaf(host, issuer=above)


_add("three-intermediates", lambda host: _deep(host, 3))
_add("six-intermediates", lambda host: _deep(host, 6))
_add("twelve-intermediates", lambda host: _deep(host, 12))

# Roots
_add("self-signed", lambda host: leaf(host, self_signed=True))
_add(
    "self-signed-ca",
    lambda host: leaf(host, self_signed=True, extensions={"basic": der.basic_constraints(True)}),
)
_add("root-unknown", lambda host: leaf(host, issuer=_unknown))
_add("root-unknown-sent", lambda host: leaf(host, issuer=_unknown).sent_with(_unknown.der))
_add("root-unknown-intermediate-sent", lambda host: leaf(host, issuer=_unknown_issuer))
_add(
    "root-unknown-all-sent",
    lambda host: leaf(host, issuer=_unknown_issuer).sent_with(_unknown_issuer.der, _unknown.der),
)


def _cross_signed(host: str, *, first: str) -> Leaf:
    """Return a leaf under an intermediate that an unknown and a trusted root signed."""
    name = f"Cross-signed, {first} first"
    trusted, other = ca(name, ROOT), ca(name, _unknown)
    above = (trusted.der, other.der) if first == "trusted" else (other.der, trusted.der)
    return leaf(host, issuer=trusted).sent_with(*above)


_add("cross-signed-trusted-first", lambda host: _cross_signed(host, first="trusted"))
_add("cross-signed-unknown-first", lambda host: _cross_signed(host, first="unknown"))
_add(
    "root-cross-signed-by-unknown",
    lambda host: leaf(host).sent_with(
        ISSUER.der, ca("Browser Test Root", _unknown, kind="p256 Browser Test Root").der
    ),
)


def _expired_cross_signature(host: str) -> Leaf:
    current = ca("Cross-signed, one expired", ROOT)
    expired = ca("Cross-signed, one expired", ROOT, end=days(-3))
    return leaf(host, issuer=current).sent_with(expired.der, current.der)


_add("expired-cross-signature-first", _expired_cross_signature)

# Intermediates
_under("intermediate-good")
_under("intermediate-without-basic-constraints", extensions={"basic": None})
_under("intermediate-is-no-ca", extensions={"basic": der.basic_constraints(False)})
_under(
    "intermediate-basic-constraints-not-critical",
    extensions={"basic": der.basic_constraints(True, critical=False)},
)
_under(
    "intermediate-version-1",
    version=None,
    extensions=dict.fromkeys(("basic", "usage", "ski", "aki")),
)
_under("intermediate-without-key-usage", extensions={"usage": None})
_under("intermediate-without-certificate-signing", extensions={"usage": der.key_usage(0, 6)})
_under("intermediate-for-clients", extensions={"eku": der.extended_key_usage(CLIENT_AUTH)})
_under("intermediate-for-email", extensions={"eku": der.extended_key_usage(EMAIL)})
_under("intermediate-for-servers", extensions={"eku": der.extended_key_usage(SERVER_AUTH)})
_under("intermediate-for-any-purpose", extensions={"eku": der.extended_key_usage(ANY_PURPOSE)})
_under("intermediate-expired", end=days(-2))
_under("intermediate-not-yet-valid", begin=days(2))
_under("intermediate-ends-before-leaf", end=days(5))
_under("intermediate-p384", kind="p384 issuer")
_under("intermediate-p521", kind="p521 issuer")
_under("intermediate-ed25519", kind="ed25519 issuer")
_under("intermediate-secp256k1", kind="secp256k1 issuer")
_under("intermediate-rsa1024", kind="rsa1024 issuer")
_under("intermediate-ecdsa-sha1", digest="sha1")
_under_rsa("intermediate-rsa-sha1", digest="sha1")
_under_rsa("intermediate-rsa-md5", digest="md5")
_under_rsa("intermediate-pss", pss=True)
_under("intermediate-signature-wrong", signature_value=der.seq(der.integer(1), der.integer(1)))
_under(
    "intermediate-unknown-critical-extension",
    extensions={"x": der.extension("1.3.6.1.4.1.99999.1", der.NULL, True)},
)
_under("intermediate-malformed-policies", extensions={"x": der.extension("2.5.29.32", b"\x30\x05")})
_under("intermediate-serial-negative", serial=-7)
_under(
    "intermediate-requires-policy",
    extensions={"x": der.extension("2.5.29.36", der.seq(tlv(0x80, b"\0")), True)},
)
_add(
    "path-length-exceeded",
    lambda host: leaf(
        host,
        issuer=ca(
            "Below zero",
            ca("Path length zero", ROOT, extensions={"basic": der.basic_constraints(True, 0)}),
        ),
    ),
)


def _leaf_as_issuer(host: str) -> Leaf:
    from_leaf = leaf("victim.test")
    key = serialization.load_pem_private_key(from_leaf.key_pem, None)
    issuer = Ca(der.common_name("victim.test"), from_leaf.chain[0], key, ISSUER)
    return leaf(host, issuer=issuer, kind="p256 below")


_add("leaf-issued-by-leaf", _leaf_as_issuer)
_add("rsa-chain", lambda host: Trusted(leaf(host, issuer=rsa_issuer()), trusts(rsa_root())))


def _renamed(host: str, tag: int, text: str = "Browser Test Issuer") -> Leaf:
    """Return a leaf that writes the name of its issuer in another way."""
    issuer = Ca(der.common_name(text, tag), ISSUER.der, ISSUER.key, ROOT)
    return leaf(host, issuer=issuer)


_add("issuer-name-in-another-string-type", lambda host: _renamed(host, 0x13))
_add("issuer-name-in-capitals", lambda host: _renamed(host, 0x0C, "BROWSER TEST ISSUER"))
_add("issuer-name-with-blanks", lambda host: _renamed(host, 0x0C, "Browser  Test  Issuer "))

# Name constraints
_DOMAIN = "chains.test"
for _name, _permitted, _excluded in (
    ("permitted", [_DOMAIN], []),
    ("permitted-other", ["example.com"], []),
    ("permitted-with-dot", ["." + _DOMAIN], []),
    ("permitted-top", ["test"], []),
    ("excluded", [], [_DOMAIN]),
    ("excluded-other", [], ["example.com"]),
    ("permitted-and-excluded", ["test"], [_DOMAIN]),
    ("address-permitted", [tlv(0x87, bytes([10, 0, 0, 0, 255, 0, 0, 0]))], []),
    ("address-excluded", [], [tlv(0x87, bytes(8))]),
    ("mail-permitted", [tlv(0x81, b"example.com")], []),
    ("uri-permitted", [tlv(0x86, b".example.com")], []),
    ("directory-permitted-other", [tlv(0xA4, der.common_name("Other"))], []),
    ("empty-permitted", [""], []),
    ("empty-excluded", [], [""]),
):
    _under(f"constraint-{_name}", extensions={"x": der.name_constraints(_permitted, _excluded)})
_under(
    "constraint-not-critical",
    extensions={"x": der.name_constraints(["example.com"], critical=False)},
)
_under("constraint-empty", extensions={"x": der.name_constraints()})

# Policies
_POLICY = "1.3.6.1.4.1.99999.7"
_under("policy-required-not-critical", extensions={"x": der.require_policy(critical=False)})
_under("policy-required-below-the-leaf", extensions={"x": der.require_policy(2)})
_under("policy-of-the-intermediate-only", extensions={"x": der.policies(_POLICY)})


def _with_policy(name: str, policy: str) -> Callable[[str], Leaf]:
    """Return a leaf with a policy, under an issuer that requires one."""
    required = {"x": der.require_policy(), "y": der.policies(_POLICY)}
    return lambda host: leaf(
        host,
        issuer=ca(f"Issuer policy {name}", ROOT, extensions=required),
        extensions={"x": der.policies(policy)},
    )


for _name, _of_leaf in {"same": _POLICY, "another": f"{_POLICY}.1", "any": "2.5.29.32.0"}.items():
    _add(f"policy-required-and-{_name}", _with_policy(_name, _of_leaf))
_under(
    "policy-any-inhibited",
    extensions={"x": der.extension("2.5.29.54", der.integer(0), True)},
)

# What browsers and libraries read differently
_under(
    "intermediate-extension-twice",
    extensions={
        "x": der.extension("1.3.6.1.4.1.99999.1", der.NULL),
        "y": der.extension("1.3.6.1.4.1.99999.1", der.NULL),
    },
)
_under(
    "intermediate-flag-not-der",
    extensions={
        "x": der.seq(der.oid("1.3.6.1.4.1.99999.1"), b"\x01\x01\0", tlv(0x04, der.NULL)),
    },
)
_under("intermediate-second-60", end=tlv(0x17, b"301231235960Z"))
_under(
    "intermediate-algorithms-differ",
    outer_algorithm=der.seq(der.oid("1.2.840.10045.4.3.3")),
)
_under_rsa(
    "intermediate-rsa-signature-without-null",
    outer_algorithm=der.seq(der.oid("1.2.840.113549.1.1.11")),
)
_under(
    "intermediate-with-authority-key-of-another",
    extensions={"aki": der.extension("2.5.29.35", der.seq(tlv(0x80, b"\x22" * 20)))},
)
_add("issuer-name-in-t61-string", lambda host: _renamed(host, 0x14))
_add(
    "issuer-name-in-bmp-string",
    lambda host: _renamed(host, 0x1E, "".join(f"\0{c}" for c in "Browser Test Issuer")),
)
_add("issuer-name-of-other-words", lambda host: _renamed(host, 0x0C, "BrowserTest Issuer"))


def _root_name_in_capitals(host: str) -> Leaf:
    root = Ca(der.common_name("BROWSER TEST ROOT", 0x13), ROOT.der, ROOT.key)
    return leaf(host, issuer=ca("Below a root in capitals", root))


_add("root-name-in-capitals", _root_name_in_capitals)


def _same_subject(host: str) -> Leaf:
    """The leaf has the subject of its issuer, with another key."""
    return leaf(host, subject=ISSUER.name)


_add("leaf-has-the-name-of-its-issuer", _same_subject)


def _new_key(host: str) -> Leaf:
    """A CA signed its new key with its old one (self-issued)."""
    old = ca("Issuer with a new key", ROOT)
    return leaf(host, issuer=ca("Issuer with a new key", old, kind="p256 new key"))


_add("intermediate-with-a-new-key", _new_key)
_add(
    "three-intermediates-reversed",
    lambda host: (x := _deep(host, 3)).sent_with(*reversed(x.chain[1:])),
)


def _two_urls(*urls: bytes) -> bytes:
    issuers = [der.seq(der.oid("1.3.6.1.5.5.7.48.2"), tlv(0x86, u)) for u in urls]
    return der.extension("1.3.6.1.5.5.7.1.1", der.seq(*issuers))


def _not_sent(name: str, *urls: bytes) -> Callable[[str], Leaf]:
    """Return a leaf that names its issuer by URLs only."""
    return lambda host: leaf(
        host,
        issuer=ca(f"Not sent, URL {name}", ROOT),
        extensions={"aia": _two_urls(*urls)},
    ).sent_with()


for _name, _urls in {
    "ldap": (b"ldap://issuer.nowhere.test/cn=issuer",),
    "https": (b"https://issuer.nowhere.test/issuer.der",),
    "two-dead": (b"http://a.nowhere.test/a", b"http://b.nowhere.test/b"),
}.items():
    _add(f"intermediate-not-sent-url-{_name}", _not_sent(_name, *_urls))

# Basic constraints that browsers cannot read: they ignore such a certificate of a CA
for _name, _basic in {
    "path-length-256": der.seq(der.TRUE, der.integer(256)),
    "path-length-255": der.seq(der.TRUE, der.integer(255)),
    "path-length-negative": der.seq(der.TRUE, b"\x02\x01\xff"),
    "flag-of-ca-not-der": der.seq(b"\x01\x01\x01"),
}.items():
    _under(
        f"intermediate-{_name}",
        relative=_name != "path-length-256",
        extensions={"basic": der.extension("2.5.29.19", _basic, True)},
    )
_under(
    "intermediate-critical-flag-not-der",
    relative=True,
    extensions={"x": der.seq(der.oid("1.3.6.1.4.1.99999.1"), b"\x01\x01\2", tlv(0x04, der.NULL))},
)


# Servers of issuers: what they answer instead of the certificate
@cache
def _issuer_server() -> int:
    """Serve the answers of :data:`_ISSUER_ANSWERS` while the process lives; return the port."""

    def talk(sock: socket.socket) -> None:
        path = sock.recv(65536).split(b" ")[1].decode().strip("/")
        sock.sendall(_ISSUER_ANSWERS[path]())
        sock.shutdown(socket.SHUT_WR)
        sock.recv(65536)

    return Server(talk).port


def _answer(body: bytes, kind: str = "application/pkix-cert", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n".encode() + body


@cache
def _fetched() -> Ca:
    return ca("Fetched issuer", ROOT)


_HTML = b"<!doctype html><title>Moved</title><p>Our repository has moved."
_ISSUER_ANSWERS: dict[str, Callable[[], bytes]] = {
    "der": lambda: _answer(_fetched().der),
    "pem": lambda: _answer(DER_cert_to_PEM_cert(_fetched().der).encode()),
    "der-as-html": lambda: _answer(_fetched().der, "text/html"),
    "html": lambda: _answer(_HTML, "text/html"),
    "html-404": lambda: _answer(_HTML, "text/html", "404 Not Found"),
    "der-404": lambda: _answer(_fetched().der, status="404 Not Found"),
    "empty": lambda: _answer(b""),
    "der-of-another": lambda: _answer(ROOT.der),
    "der-and-garbage": lambda: _answer(_fetched().der + b"garbage"),
    "der-cut": lambda: _answer(_fetched().der[:-20]),
    "redirect": lambda: b"HTTP/1.1 301 Moved\r\nLocation: /der\r\n\r\n",
    "redirect-to-html": lambda: b"HTTP/1.1 301 Moved\r\nLocation: /html\r\n\r\n",
}


def _fetched_from(name: str) -> Callable[[str], Leaf]:
    """Return a leaf whose issuer is fetched from the URL of this answer."""

    def made(host: str) -> Leaf:
        # The server is started only if a browser visits the situation.
        url = f"http://{name}.issuer.test:{_issuer_server()}/{name}"
        extensions = {"aia": _two_urls(url.encode())}
        return leaf(host, issuer=_fetched(), extensions=extensions).sent_with()

    return made


for _name in _ISSUER_ANSWERS:
    _add(f"intermediate-not-sent-url-answers-{_name}", _fetched_from(_name))
