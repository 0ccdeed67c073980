"""What an administrator installs: read back, checked with openssl, and used by a real nginx."""

from __future__ import annotations

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from certmgr.cases.csr import spki
from certmgr.cases.package import Part, build, fingerprint
from certmgr.demo.authority import Authority, Issued
from inventory.certificates import parse
from tests.certmgr.cases.place import START
from tests.servers.real import program

NAMES = ["shop.example.com", "www.shop.example.com"]


def part(issued: Issued, key: Any) -> Part:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Part("x", tuple(parse(c.public_bytes(Encoding.DER)) for c in issued.chain), key)


@pytest.fixture
def one(issuer: Authority) -> Part:
    key = ec.generate_private_key(ec.SECP256R1())
    return part(issuer.issue(*NAMES, key=key), key)


def files(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16 & 0o777
            assert mode == (0o600 if info.filename.endswith(("privkey.pem", "combined.pem", ".p12")) else 0o644), info.filename
            assert not info.filename.startswith("/")
            assert ".." not in info.filename
        return {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}


def test_everything_is_in_it_and_the_checksums_hold(one: Part) -> None:
    found = files(build("CM-ABC234", NAMES, [one], "pw", START))
    assert {
        "fullchain.pem",
        "cert.pem",
        "chain.pem",
        "privkey.pem",
        "combined.pem",
        "certificate.p12",
        "README.txt",
        "SHA256SUMS",
    } <= set(found)
    assert {f"snippets/{n}" for n in ("nginx.conf", "apache.conf", "haproxy.cfg", "iis.txt", "java.txt")} <= set(found)
    sums = {line[66:]: line[:64] for line in found["SHA256SUMS"].decode().splitlines()}
    assert sums == {n: hashlib.sha256(d).hexdigest() for n, d in found.items() if n != "SHA256SUMS"}
    assert fingerprint(one.chain[0].sha256).encode() in found["README.txt"]
    assert found["combined.pem"] == found["fullchain.pem"] + found["privkey.pem"]
    p12 = load_pkcs12(found["certificate.p12"], b"pw")
    assert p12.key is not None
    assert spki(p12.key.public_key()) == spki(one.key.public_key())


def test_without_a_password_no_pkcs12_and_without_a_key_none_of_what_needs_it(one: Part) -> None:
    found = files(build("CM-ABC234", NAMES, [one], "", START))
    assert "certificate.p12" not in found
    assert b"No PKCS#12" in found["README.txt"]
    theirs = files(build("CM-ABC234", NAMES, [Part("x", one.chain)], "pw", START))
    assert not {"privkey.pem", "combined.pem", "certificate.p12"} & set(theirs)
    assert b"with the client" in theirs["README.txt"]


def test_two_key_types_have_a_folder_each(issuer: Authority, one: Part) -> None:
    key = rsa.generate_private_key(65537, 2048)
    found = files(build("CM-ABC234", NAMES, [one, part(issuer.issue(*NAMES, key=key), key)], "pw", START))
    assert {"ec/privkey.pem", "rsa/privkey.pem", "ec/certificate.p12", "rsa/combined.pem"} <= set(found)
    assert found["snippets/nginx.conf"].count(b"ssl_certificate_key") == 2


def test_hostile_names_of_a_certificate_stay_text(issuer: Authority) -> None:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "../../etc/x\r\n; rm \x1b[31m")])
    found = files(build("CM-ABC234", NAMES, [part(issuer.issue(*NAMES, key=key, subject=subject), key)], "", START))
    for name, data in found.items():
        assert "etc" not in name
        assert b"\x1b" not in data


def test_nginx_takes_the_files_and_the_snippet(one: Part, tmp_path: Path) -> None:
    for name, data in files(build("CM-ABC234", NAMES, [one], "", START)).items():
        path = tmp_path / "ssl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    snippet = (tmp_path / "ssl/snippets/nginx.conf").read_text().replace("/etc/ssl/CM-ABC234", str(tmp_path / "ssl"))
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/error.log;\nevents {{}}\nhttp {{ access_log off;\n{snippet}\n}}\n".replace(
            "443", "18443"
        )
    )
    done = subprocess.run(
        [program("nginx", "nginx-light"), "-t", "-c", str(config), "-e", str(tmp_path / "e.log")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    checked = subprocess.run(
        [program("openssl", "openssl"), "x509", "-in", str(tmp_path / "ssl/cert.pem"), "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stdout.strip().endswith(fingerprint(one.chain[0].sha256))
