"""The inputs from which fuzzing starts: one valid example of each form, and earlier crashes."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path

import dns.message
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs7,
    pkcs12,
)
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from certmgr.demo.authority import Authority, IssuedCertificate
from inventory.importers.csv_format import EXAMPLE
from tests.clock import START, frozen

CRASHES = Path(__file__).with_name("crashes")
DAY = timedelta(days=1)


@cache
def _root() -> Authority:
    return Authority("Fuzz Root", clock=frozen)


@cache
def _leaf() -> IssuedCertificate:
    return _root().issue("a.example", "*.b.example", not_before=START - DAY, not_after=START + DAY)


def root_certificate() -> x509.Certificate:
    return x509.load_pem_x509_certificate(_root().pem)


@cache
def leaf_and_issuer() -> tuple[bytes, bytes]:
    return _leaf().der, root_certificate().public_bytes(Encoding.DER)


def _certificates() -> list[bytes]:
    return [_leaf().der, _leaf().chain_pem, _root().pem]


def _crls() -> list[bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(2)
        .revocation_date(START)
        .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        .build()
    )
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root_certificate().subject)
        .last_update(START)
        .next_update(START + DAY)
        .add_revoked_certificate(entry)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(
            x509.IssuingDistributionPoint(
                [x509.UniformResourceIdentifier("http://a.example/x.crl")],
                None,
                False,
                False,
                None,
                False,
                False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    return [made.public_bytes(Encoding.DER), made.public_bytes(Encoding.PEM)]


def _ocsp() -> list[bytes]:
    leaf, issuer = (x509.load_der_x509_certificate(der) for der in leaf_and_issuer())
    made = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=leaf,
            issuer=issuer,
            algorithm=hashes.SHA1(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=START,
            next_update=START + DAY,
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
        .sign(_root().key, hashes.SHA256())
    )
    return [made.public_bytes(Encoding.DER)]


def _csrs() -> list[bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    return [pem, made.public_bytes(Encoding.DER), pem.decode().encode("utf-16")]


def _archives() -> list[bytes]:
    leaf = x509.load_der_x509_certificate(_leaf().der)
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = BestAvailableEncryption(b"secret")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.crt", _leaf().chain_pem)
        archive.writestr("dir/b.txt", "x" * 2000)
    p7 = pkcs7.serialize_certificates([leaf], Encoding.DER)
    return [
        zipped.getvalue(),
        p7,
        pkcs7.serialize_certificates([leaf], Encoding.PEM),
        pkcs12.serialize_key_and_certificates(b"a", None, leaf, [leaf], encryption),
        pkcs12.serialize_key_and_certificates(b"a", key, None, None, encryption),
        _leaf().key_pem + _leaf().chain_pem,
        base64.b64encode(p7),
    ]


def _http() -> list[bytes]:
    page = b"<html><title>x</title>ok</html>"
    return [
        b"HTTP/1.1 200 OK\r\nContent-Length: 31\r\nContent-Type: text/html\r\n\r\n" + page,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nWiki\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(page),
        b"HTTP/1.1 301 Moved\r\nLocation: https://b.example/\r\nSet-Cookie: a=b\r\n\r\n",
    ]


def _pages() -> list[bytes]:
    return [
        b"text/html; charset=utf-8\n<!doctype html><title>x</title><form action=http://b.example>"
        b"<input type=password autocomplete=cc-number></form><script src=//c.example/x.js></script>"
        b"<svg><foreignObject><p>x</p></foreignObject></svg><base href=/x><img srcset='a 1x'>",
        b"text/html; charset=utf-16\n" + "<p>x</p>".encode("utf-16"),
        b"application/xhtml+xml\n<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>"
        b"<head><title>x</title></head><body><a href='#'>x</a></body></html>",
        b"text/html\n<meta http-equiv=refresh content='0;url=http://x/'><template><input></template>",
    ]


_NOTICE = "CM-7KQ4X2"


def _mails() -> list[bytes]:
    plain = (
        f"From: Ada <ada@a.example>\r\nTo: tls@p.example\r\nSubject: Re: [{_NOTICE}] x\r\n"
        "Message-ID: <1@a.example>\r\nIn-Reply-To: <certmgr.1.abc@p.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nDone.\r\n> old\r\n"
    )
    dsn = (
        "From: MAILER-DAEMON@m.example\r\nReturn-Path: <>\r\nSubject: Undelivered\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;"
        ' boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nfailed\r\n'
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; m.example\r\n\r\n"
        "Final-Recipient: rfc822; ada@a.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 no such user\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        "From: tls@p.example\r\nMessage-ID: <certmgr.1.abc@p.example>\r\n\r\nx\r\n--b--\r\n"
    )
    invitation = (
        "From: ada@a.example\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n'
        "\r\n--b\r\nContent-Type: text/html; charset=iso-8859-1\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>ja=20</p>\r\n"
        '--b\r\nContent-Type: text/calendar; method=REPLY; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode(_calendars()[0]).decode()
        + "\r\n--b--\r\n"
    )
    return [m.encode() for m in (plain, dsn, invitation)]


def _calendars() -> list[bytes]:
    return [
        b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nMETHOD:REPLY\r\nBEGIN:VEVENT\r\n"
        b"UID:window-1@certmgr\r\nDTSTAMP:20261125T100000Z\r\nDTSTART;TZID=Europe/Berlin:"
        b"20261127T100000\r\nSEQUENCE:1\r\nATTENDEE;PARTSTAT=ACCEPTED;CN=Ada:mailto:ada@a.example\r\n"
        b"RRULE:FREQ=DAILY;COUNT=2\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
    ]


_ZONE = b"""$ORIGIN a.example.
$TTL 3600
@ IN SOA ns hostmaster ( 1 7200 900 1209600 300 )
  IN NS ns
www 300 IN A 192.0.2.1
mail IN MX 10 mx
* IN CNAME www
$GENERATE 1-3 h$ A 192.0.2.$
_443._tcp IN TLSA 3 1 1 aabb
t IN TXT "a b" "c"
"""
_NGINX = b"""events {}
http { map $host $x { default 1; ~^(?<n>.+)$ 2; }
  server { listen 443 ssl http2; listen [::]:8443 ssl; server_name a.example *.a.example ~^w\\d+$;
    ssl_certificate x.pem; if ($host = b) { return 301 https://a.example$request_uri; } }
  include conf.d/*.conf; }
stream { server { listen 993 ssl; } }
"""
_APACHE = b"""Define name a.example
<VirtualHost *:443 [::1]:443>
  ServerName ${name}
  ServerAlias www.${name} \\
    m.a.example
  <IfModule mod_ssl.c>
    SSLEngine on
  </IfModule>
</VirtualHost>
<Macro VHost $n>
<VirtualHost *:443>
ServerName $n
</VirtualHost>
</Macro>
Use VHost b.example
"""


def _json() -> list[bytes]:
    document = {
        "schema": "certmgr.inventory/1",
        "clients": [{"number": "1", "name": "One", "tags": ["a"]}],
        "contacts": [{"client": "1", "name": "Ada", "ways": ["email:ada@a.example"]}],
        "servers": [{"name": "web1", "addresses": ["192.0.2.1"]}],
        "domains": [{"name": "a.example", "client": "1"}],
        "endpoints": [{"domain": "a.example", "host": "a.example", "port": 443}],
    }
    return [json.dumps(document).encode()]


def _acme() -> list[bytes]:
    order = {
        "status": "pending",
        "identifiers": [{"type": "dns", "value": "a.example"}],
        "authorizations": ["https://ca.example/authz/1"],
        "finalize": "https://ca.example/f/1",
        "expires": "2026-12-01T00:00:00Z",
    }
    authorization = {
        "status": "pending",
        "identifier": {"type": "dns", "value": "a.example"},
        "challenges": [{"type": "http-01", "url": "https://ca.example/c", "token": "abc"}],
    }
    problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "x", "subproblems": [{}]}
    return [json.dumps(d).encode() for d in (order, authorization, problem)]


def _dns() -> list[bytes]:
    answer = dns.message.make_response(dns.message.make_query("a.example", "A"))
    text = 'a.example. 60 IN CAA 0 issue "ca.example"\na.example. 60 IN A 192.0.2.1'
    filled = dns.message.from_text(
        "id 1\nopcode QUERY\nrcode NOERROR\nflags QR RD RA\n;QUESTION\na.example. IN A\n"
        f";ANSWER\n{text}\n"
    )
    return [answer.to_wire(), filled.to_wire()]


def _starttls() -> list[bytes]:
    replies = (
        b"220 m.example ESMTP\r\n250-m.example\r\n250 STARTTLS\r\n220 go\r\n",
        b"* OK ready\r\n* CAPABILITY IMAP4rev1 STARTTLS\r\na1 OK done\r\na2 OK begin\r\n",
        b"+OK ready\r\n+OK\r\nSTLS\r\n.\r\n+OK begin\r\n",
        b"0\x0c\x02\x01\x01x\x07\n\x01\x00\x04\x00\x04\x00",
        b"S",
        b"<?xml version='1.0'?><stream:stream from='x'><stream:features><starttls "
        b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features><proceed/>",
        b'"IMPLEMENTATION" "x"\r\n"STARTTLS"\r\nOK "y"\r\nOK\r\n',
        b"J\x00\x00\x00\n8.0.1\x00" + b"\x01" * 60,
    )
    return [bytes([n]) + r for n in range(12) for r in replies]


def _timestamps() -> list[bytes]:
    return [bytes.fromhex("30053003020102"), bytes.fromhex("3030300302010030290609") + b"*" * 40]


_TEXTS: dict[str, list[bytes]] = {
    "zone": [_ZONE],
    "nginx": [_NGINX, b"# configuration file /etc/nginx/nginx.conf:\n" + _NGINX],
    "apache": [_APACHE],
    "names": [b"a.example\nwww.a.example 192.0.2.1\n# x\n*.b.example\n"],
    "csv": [EXAMPLE.encode(), "Kundennummer;Domain\n1;a.example\n".encode("utf-16")],
    "purchases": [b"client,vendor,names,years\n1,V,a.example,1\n"],
    "certbot": [b"version = 2\narchive_dir = /x\n[renewalparams]\naccount = a\n"],
    "texts": [
        b"a.example:443/https",
        b"[::1]:25/smtp",
        b"5; url=https://x/",
        "bücher.example".encode(),
    ],
    "configuration": [b'[scan]\ntimeout = 3.0\n[acme.ca.x]\ndirectory = "https://a/d"\n'],
    "audit export": [b'{"schema": "certmgr.audit-export/1", "start": "0"}\n{"entries": 0}\n'],
}
_MADE: dict[str, Callable[[], list[bytes]]] = {
    "certificate": _certificates,
    "crl": _crls,
    "ocsp": _ocsp,
    "csr": _csrs,
    "archive": _archives,
    "http": _http,
    "page": _pages,
    "mail": _mails,
    "calendar": _calendars,
    "json": _json,
    "acme": _acme,
    "dns": _dns,
    "starttls": _starttls,
    "timestamp": _timestamps,
}


@cache
def of(name: str) -> list[bytes]:
    """Return the seeds of a target."""
    found = list(_TEXTS[name]) if name in _TEXTS else _MADE[name]()
    folder = CRASHES / name.replace(" ", "-")
    return found + [path.read_bytes() for path in sorted(folder.glob("*"))]
