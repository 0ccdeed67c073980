"""A server farm on loopback: 2,000 TLS sites on nginx.

Half of the certificates are P-256 under a P-384 issuer, and half are RSA-2048. All certificates are
distinct, but fifty certificates share one RSA key, because 1,000 RSA keys would take minutes.
limit.c (written for this project) expects the addresses 127.77.0.1-4:9443 and the names
h0000.farm.test and following.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inventory.clock import system_clock

COUNT = 2000
ADDRESSES = ("127.77.0.1", "127.77.0.2", "127.77.0.3", "127.77.0.4")
PORT = 9443
HTTP_PORT = 9444
# Further addresses that serve only the first site, for tools that scan one endpoint per address.
SPREAD = tuple(f"127.77.2.{n}" for n in range(1, 121))
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


# A page of 20 KB, like that of a small web shop.
PAGE = (
    "<!doctype html><html lang=en><head><title>Shop</title><link rel=stylesheet"
    " href=/style.css></head><body><form action=/search><input name=q></form>"
    + "".join(
        f"<article><h2>Item {i}</h2><p>Some words about it.</p><img src=/i/{i}.jpg alt=''><a"
        f" href=/item/{i}>More</a></article>\n"
        for i in range(170)
    )
    + "<form action=/login><input name=user><input type=password name=pw></form></body></html>"
)


def name_of(index: int) -> str:
    """Return the name of a site."""
    return f"h{index % COUNT:04d}.farm.test"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, issuer: str, key: Key, days: int) -> x509.CertificateBuilder:
    now = system_clock().replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _authority(
    subject: str, issuer: str, key: Key, signer: Key, depth: int | None
) -> x509.Certificate:
    builder = _builder(subject, issuer, key, 3650).add_extension(
        x509.BasicConstraints(True, depth), critical=True
    )
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    return builder.add_extension(usage, critical=True).sign(
        signer,
        hashes.SHA384() if isinstance(signer, ec.EllipticCurvePrivateKey) else hashes.SHA256(),
    )


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make(folder: Path) -> None:
    """Write root.pem, and certificate and key of each site."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs: list[tuple[str, Key, x509.Certificate]] = []
    roots = []
    for label, root_key, key in (
        ("EC", ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())),
        ("RSA", rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)),
    ):
        root = _authority(f"Farm {label} Root", f"Farm {label} Root", root_key, root_key, None)
        roots.append(root.public_bytes(serialization.Encoding.PEM))
        pairs.append(
            (
                f"Farm {label} Issuer",
                key,
                _authority(f"Farm {label} Issuer", f"Farm {label} Root", key, root_key, 0),
            )
        )
    (folder / "root.pem").write_bytes(b"".join(roots))
    rsa_keys = [rsa.generate_private_key(65537, 2048) for _ in range(20)]
    for index in range(COUNT):
        issuer, signer, authority = pairs[index % 2]
        key = (
            ec.generate_private_key(ec.SECP256R1())
            if index % 2 == 0
            else rsa_keys[index // 2 % len(rsa_keys)]
        )
        host = name_of(index)
        leaf = (
            _builder(host, issuer, key, 90)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
            .sign(
                signer,
                (
                    hashes.SHA384()
                    if isinstance(signer, ec.EllipticCurvePrivateKey)
                    else hashes.SHA256()
                ),
            )
        )
        chain = leaf.public_bytes(serialization.Encoding.PEM) + authority.public_bytes(
            serialization.Encoding.PEM
        )
        (folder / f"{index:04d}.pem").write_bytes(chain)
        (folder / f"{index:04d}.key").write_bytes(_pem(key))


def _configuration(folder: Path) -> str:
    listens = " ".join(f"listen {a}:{PORT} ssl backlog=8192;" for a in ADDRESSES)
    listens += " ".join(f" listen {a}:{PORT} ssl;" for a in SPREAD)
    plain = " ".join(f"listen {a}:{PORT} ssl;" for a in ADDRESSES)
    servers = "\n".join(
        f"server {{ {listens if i == 0 else plain} server_name {name_of(i)}; ssl_certificate"
        f" {folder}/{i:04d}.pem; ssl_certificate_key {folder}/{i:04d}.key; include"
        f" {folder}/page.conf; }}"
        for i in range(COUNT)
    )
    redirects = " ".join(f"listen {a}:{HTTP_PORT};" for a in ADDRESSES)
    return f"""worker_processes 2; worker_rlimit_nofile 20000; daemon off;
pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 8000; }}
http {{ access_log off;
server_names_hash_max_size 16384; server_names_hash_bucket_size 128;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_ecdh_curve X25519:prime256v1; ssl_session_cache off; ssl_session_tickets off;
ssl_prefer_server_ciphers off; keepalive_timeout 5;
client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
default_type text/html;
server {{ {redirects} return 301 https://$host:{PORT}$request_uri; }}
{servers}
}}
"""


@contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Run the farm; yield the PEM file with its root certificates."""
    if not (folder / "root.pem").exists() or not (folder / f"{COUNT - 1:04d}.key").exists():
        make(folder)
    (folder / "www").mkdir(exist_ok=True)
    (folder / "www" / "index.html").write_text(PAGE)
    (folder / "page.conf").write_text(
        f"root {folder.resolve()}/www; index index.html; add_header Strict-Transport-Security"
        " max-age=31536000;\n"
    )
    (folder / "nginx.conf").write_text(_configuration(folder.resolve()))
    process = subprocess.Popen(
        ["nginx", "-e", str(folder / "error.log"), "-c", str((folder / "nginx.conf").resolve())]
    )
    try:
        import socket

        for _ in range(200):
            if process.poll() is not None:
                raise SystemExit(f"nginx ended: {(folder / 'error.log').read_text()[-500:]}")
            try:
                socket.create_connection((ADDRESSES[0], PORT), 0.2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield folder / "root.pem"
    finally:
        process.terminate()
        process.wait(10)
