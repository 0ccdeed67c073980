"""Situations of issuers that browsers fetch: what is behind the URLs that certificates name."""

from __future__ import annotations

import gzip
import itertools
import socket
from collections.abc import Callable, Mapping
from functools import cache, partial
from ssl import DER_cert_to_PEM_cert
from typing import Any

from certmgr.demo.servers import Server
from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import ISSUER, ROOT, Ca, Leaf, ca, days, leaf
from tests.certmgr.browser.situations import Group

GROUP = Group("fetched")
_ORDINARY = frozenset({"pkcs7", "second-url", "two-levels", "redirected-three-times"})
# What the server of the issuers answers, by path.
_ANSWERS: dict[str, bytes] = {}


@cache
def _port() -> int:
    """Serve :data:`_ANSWERS` while the process lives; return the port."""

    def talk(sock: socket.socket) -> None:
        path = sock.recv(65536).split(b" ")[1].decode().partition("?")[0].strip("/")
        sock.sendall(_ANSWERS.get(path, b"HTTP/1.1 404 Not Found\r\n\r\n"))
        sock.shutdown(socket.SHUT_WR)
        sock.recv(65536)

    return Server(talk).port


_paths = itertools.count()


def _put(answer: bytes) -> str:
    """Serve an answer, and return its URL."""
    number = next(_paths)
    _ANSWERS[f"issuer{number}"] = answer
    return f"http://i{number}.issuer.test:{_port()}/issuer{number}"


def _ok(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = b"".join(h + b"\r\n" for h in headers)
    return b"HTTP/1.1 " + status + b"\r\n" + lines + b"\r\n" + body


def _moved(url: str, status: bytes = b"302 Found") -> bytes:
    return _ok(b"", b"Location: " + url.encode(), status=status)


def pkcs7(*certificates: bytes) -> bytes:
    """Return a SignedData with certificates only (RFC 5652 5.1)."""
    signed = der.seq(
        der.integer(1),
        tlv(0x31, b""),
        der.seq(der.oid("1.2.840.113549.1.7.1")),
        tlv(0xA0, b"".join(certificates)),
        tlv(0x31, b""),
    )
    return der.seq(der.oid("1.2.840.113549.1.7.2"), tlv(0xA0, signed))


def issuers_at(*urls: str | bytes, critical: bool = False) -> bytes:
    """Return an authorityInfoAccess with these URLs; bytes are whole GeneralNames."""
    listed = [
        der.seq(der.oid("1.3.6.1.5.5.7.48.2"), u if isinstance(u, bytes) else tlv(0x86, u.encode()))
        for u in urls
    ]
    return der.extension("1.3.6.1.5.5.7.1.1", der.seq(*listed), critical)


def _below(issuer: Ca, host: str, *urls: str | bytes, **fields: Any) -> Leaf:
    """Return a leaf that names its issuer by URLs only."""
    extensions = {"aia": issuers_at(*urls)} | fields.pop("extensions", {})
    return leaf(host, issuer=issuer, extensions=extensions, **fields).sent_with()


def _add(name: str, build: Callable[[Ca, str], Leaf], **fields: Any) -> None:
    """Add a site below a separate issuer: Chromium remembers those that it met."""
    GROUP.add(
        name,
        lambda host: build(ca(f"Fetched {name}", ROOT, **fields), host),
        relative=name not in _ORDINARY,
    )


def _answered(name: str, answer: Callable[[Ca], bytes], **fields: Any) -> None:
    _add(name, lambda issuer, host: _below(issuer, host, _put(answer(issuer))), **fields)


def _pem(certificate: bytes) -> bytes:
    return DER_cert_to_PEM_cert(certificate).encode()


def _pem_of(label: bytes, content: bytes) -> bytes:
    return _pem(content).replace(b" CERTIFICATE-", b" " + label + b"-")


@cache
def _unrelated() -> Ca:
    return ca("Unrelated issuer", ROOT)


# The form of the answer
FORMS: Mapping[str, Callable[[Ca], bytes]] = {
    "pkcs7": lambda i: _ok(pkcs7(i.der), b"Content-Type: application/pkcs7-mime"),
    "pkcs7-without-type": lambda i: _ok(pkcs7(i.der)),
    "pkcs7-two": lambda i: _ok(pkcs7(_unrelated().der, i.der)),
    "pkcs7-empty": lambda i: _ok(pkcs7()),
    "pkcs7-with-garbage": lambda i: _ok(pkcs7(i.der) + b"garbage"),
    "pkcs7-as-pem": lambda i: _ok(_pem_of(b"PKCS7", pkcs7(i.der))),
    "pkcs7-as-pem-of-certificate": lambda i: _ok(_pem(pkcs7(i.der))),
    "pem-two": lambda i: _ok(_pem(_unrelated().der) + _pem(i.der)),
    "pem-with-text": lambda i: _ok(b"Issuer of the site\n\n" + _pem(i.der) + b"\nend\n"),
    "pem-of-x509": lambda i: _ok(_pem_of(b"X509 CERTIFICATE", i.der)),
    "pem-of-trusted": lambda i: _ok(_pem_of(b"TRUSTED CERTIFICATE", i.der)),
    "pem-crlf": lambda i: _ok(_pem(i.der).replace(b"\n", b"\r\n")),
    "pem-in-one-line": lambda i: _ok(
        b"-----BEGIN CERTIFICATE-----"
        + b"".join(_pem(i.der).splitlines()[1:-1])
        + b"-----END CERTIFICATE-----"
    ),
    "base64-only": lambda i: _ok(b"\n".join(_pem(i.der).splitlines()[1:-1])),
    "gzip": lambda i: _ok(gzip.compress(i.der, mtime=0), b"Content-Encoding: gzip"),
    "gzip-without-header": lambda i: _ok(gzip.compress(i.der, mtime=0)),
    "chunked": lambda i: _ok(
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(i.der), i.der), b"Transfer-Encoding: chunked"
    ),
    "length-too-large": lambda i: _ok(i.der, b"Content-Length: 9999"),
    "length-too-small": lambda i: _ok(i.der + b"garbage", b"Content-Length: %d" % len(i.der)),
    "length-twice": lambda i: _ok(i.der, b"Content-Length: 5", b"Content-Length: 7"),
    "type-json": lambda i: _ok(i.der, b"Content-Type: application/json"),
    "type-download": lambda i: _ok(i.der, b"Content-Disposition: attachment; filename=a.crt"),
    "line-feeds-only": lambda i: _ok(i.der).replace(b"\r\n", b"\n", 2),
    "version-0.9": lambda i: i.der,
    "status-201": lambda i: _ok(i.der, status=b"201 Created"),
    "status-203": lambda i: _ok(i.der, status=b"203 Odd"),
    "status-206": lambda i: _ok(i.der, status=b"206 Partial Content"),
    "status-204": lambda i: _ok(b"", status=b"204 No Content"),
    "status-401": lambda i: _ok(
        i.der, b"WWW-Authenticate: Basic realm=x", status=b"401 Unauthorized"
    ),
    "status-403": lambda i: _ok(i.der, status=b"403 Forbidden"),
    "status-500": lambda i: _ok(i.der, status=b"500 Odd"),
    "status-304": lambda i: _ok(b"", status=b"304 Not Modified"),
    "status-300": lambda i: _ok(i.der, status=b"300 Odd"),
    "interim-103": lambda i: _ok(b"", status=b"103 Early") + _ok(i.der),
    "of-itself": lambda i: _ok(leaf("itself.fetched.test", issuer=i).chain[0]),
    "of-root-in-its-place": lambda i: _ok(ROOT.der),
    "redirected-once": lambda i: _moved(_put(_ok(i.der))),
    "redirected-twice": lambda i: _moved(_put(_moved(_put(_ok(i.der))))),
    "redirected-three-times": lambda i: _moved(_put(_moved(_put(_moved(_put(_ok(i.der))))))),
    "redirected-to-nothing": lambda i: _moved("http://gone.nowhere.test/"),
    "redirected-to-https": lambda i: _moved("https://gone.issuer.test:1/"),
    "redirected-by-307": lambda i: _moved(_put(_ok(i.der)), b"307 Odd"),
    "redirected-by-308": lambda i: _moved(_put(_ok(i.der)), b"308 Odd"),
    "redirected-by-refresh": lambda i: _ok(b"", b"Refresh: 0; url=" + _put(_ok(i.der)).encode()),
}
for _name, _form in FORMS.items():
    _answered(_name, _form)


def _chain_of_redirects(count: int, issuer: Ca) -> bytes:
    answer = _ok(issuer.der)
    for _ in range(count):
        answer = _moved(_put(answer))
    return answer


for _count in (5, 15, 20, 21, 25):
    _answered(f"redirected-{_count}-times", partial(_chain_of_redirects, _count))
_answered(
    "large",
    lambda i: _ok(i.der),
    extensions={"x": der.extension("1.3.6.1.4.1.99999.2", tlv(4, b"x" * 60_000))},
)
_answered(
    "too-large",
    lambda i: _ok(i.der),
    extensions={"x": der.extension("1.3.6.1.4.1.99999.2", tlv(4, b"x" * 70_000))},
)

# The URLs
_DEAD = "http://dead.nowhere.test/"
_add("second-url", lambda i, host: _below(i, host, _DEAD, _put(_ok(i.der))))
_add("second-url-after-html", lambda i, host: _below(i, host, _put(_ok(b"<p>")), _put(_ok(i.der))))
_add(
    "second-url-after-another",
    lambda i, host: _below(i, host, _put(_ok(_unrelated().der)), _put(_ok(i.der))),
)
_add("second-url-after-ldap", lambda i, host: _below(i, host, "ldap://x/", _put(_ok(i.der))))
_add(
    "second-url-after-https",
    lambda i, host: _below(i, host, "https://dead.nowhere.test/", _put(_ok(i.der))),
)
_add("second-url-after-malformed", lambda i, host: _below(i, host, "http://[", _put(_ok(i.der))))
_add(
    "second-url-after-name",
    lambda i, host: _below(i, host, tlv(0x82, b"issuer.test"), _put(_ok(i.der))),
)


def _numbered(count: int, issuer: Ca, host: str) -> Leaf:
    dead = [f"http://dead{n}.nowhere.test/" for n in range(count - 1)]
    return _below(issuer, host, *dead, _put(_ok(issuer.der)))


for _count in (3, 4, 5, 6, 7):
    _add(f"url-number-{_count}", partial(_numbered, _count))
_add("url-in-capitals", lambda i, host: _below(i, host, _put(_ok(i.der)).replace("http", "HTTP")))
_add("url-with-query", lambda i, host: _below(i, host, _put(_ok(i.der)) + "?a=b"))
_add("url-with-fragment", lambda i, host: _below(i, host, _put(_ok(i.der)) + "#a"))
_add("url-with-user", lambda i, host: _below(i, host, _put(_ok(i.der)).replace("//", "//a:b@")))
_add("url-with-blanks", lambda i, host: _below(i, host, f" {_put(_ok(i.der))} "))
_add(
    "url-of-address",
    lambda i, host: _below(
        i, host, f"http://127.0.0.1:{_port()}/" + _put(_ok(i.der)).rpartition("/")[2]
    ),
)
_add("url-relative", lambda i, host: _below(i, host, "/" + _put(_ok(i.der)).rpartition("/")[2]))
_add(
    "extension-critical",
    lambda i, host: _below(
        i, host, extensions={"aia": issuers_at(_put(_ok(i.der)), critical=True)}
    ),
)
_add(
    "extension-of-responder-only",
    lambda i, host: _below(
        i,
        host,
        extensions={
            "aia": der.extension(
                "1.3.6.1.5.5.7.1.1",
                der.seq(
                    der.seq(der.oid("1.3.6.1.5.5.7.48.1"), tlv(0x86, _put(_ok(i.der)).encode()))
                ),
            )
        },
    ),
)
_add(
    "with-another-key-sent",
    lambda i, host: _below(i, host, _put(_ok(i.der))).sent_with(
        ca("Fetched with-another-key-sent", ROOT, kind="p256 another").der
    ),
)
_add(
    "with-expired-sent",
    lambda i, host: _below(i, host, _put(_ok(i.der))).sent_with(
        ca("Fetched with-expired-sent", ROOT, end=days(-3)).der
    ),
)
_add("expired", lambda i, host: _below(i, host, _put(_ok(i.der))), end=days(-3))
_add(
    "leaf-expired",
    lambda i, host: _below(i, host, _put(_ok(i.der)), begin=days(-90), end=days(-2)),
)
_add(
    "leaf-of-another-name",
    lambda i, host: _below(
        i, host, _put(_ok(i.der)), extensions={"san": der.san("other.example.com")}
    ),
)
_add(
    "constrained",
    lambda i, host: _below(i, host, _put(_ok(i.der))),
    extensions={"x": der.name_constraints(["example.com"])},
)


# Several levels
def _levels(count: int, host: str, *, last: bool = True) -> Leaf:
    """Return a leaf whose issuers, each above the other, are all fetched."""
    above = ROOT
    extensions: dict[str, bytes | None] = {}
    for level in range(count):
        above = ca(f"Fetched level {level} of {count} {last}", above, extensions=extensions)
        known = last or level
        extensions = {"aia": issuers_at(_put(_ok(above.der)) if known else _DEAD)}
    return _below(above, host, _put(_ok(above.der)))


for _count, _word in {2: "two", 3: "three", 5: "five"}.items():
    GROUP.add(f"{_word}-levels", partial(_levels, _count), relative=_count != 2)
GROUP.add("two-levels-last-dead", partial(_levels, 2, last=False), relative=True)


def _loop(count: int, host: str) -> Leaf:
    """CAs have signed each other in a circle, and no root has signed one of them."""
    names = [f"Fetched loop {n} of {count}" for n in range(count)]
    keys, urls = [ca(name) for name in names], [_put(b"") for _ in names]
    signed = [
        ca(
            names[n],
            keys[(n + 1) % count],
            kind=f"p256 {names[n]}",
            extensions={"aia": issuers_at(urls[(n + 1) % count])},
        )
        for n in range(count)
    ]
    for url, one in zip(urls, signed, strict=True):
        _ANSWERS[url.rpartition("/")[2]] = _ok(one.der)
    return _below(signed[0], host, urls[0])


def _upper_only(host: str) -> Leaf:
    """The lower intermediate is sent, and names where the upper one is."""
    upper = ca("Fetched upper only", ROOT)
    lower = ca("Sent below fetched", upper, extensions={"aia": issuers_at(_put(_ok(upper.der)))})
    return leaf(host, issuer=lower).sent_with(lower.der)


def _unknown_root(host: str) -> Leaf:
    root = ca("Fetched unknown root")
    return _below(root, host, _put(_ok(root.der)))


def _better_path(host: str) -> Leaf:
    """The sent intermediate leads to an unknown root; a fetched one to a trusted root."""
    name = "Fetched better path"
    sent, better = ca(name, ca("Unknown root of better path")), ca(name, ROOT)
    made = leaf(host, issuer=better, extensions={"aia": issuers_at(_put(_ok(better.der)))})
    return made.sent_with(sent.der)


def _needless(host: str) -> Leaf:
    """All is sent, and the URL answers nothing of use."""
    made = leaf(host, extensions={"aia": issuers_at(_put(_ok(b"<p>moved")))})
    return made.sent_with(ISSUER.der)


GROUP.add("loop", partial(_loop, 2), relative=True)
GROUP.add("loop-of-one", partial(_loop, 1), relative=True)
GROUP.add("loop-of-three", partial(_loop, 3), relative=True)
GROUP.add("upper-only", _upper_only, relative=True)
GROUP.add("unknown-root", _unknown_root, relative=True)
GROUP.add("better-path", _better_path, relative=True)
GROUP.add("needless", _needless, relative=True)
