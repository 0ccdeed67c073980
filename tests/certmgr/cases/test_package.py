"""The installation package: parsed again, checked with openssl, and used by real servers."""

from __future__ import annotations

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.x509.oid import NameOID

from certmgr.cases.package import PackagePart, build_package, fingerprint
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.x509.csr import spki
from tests.certmgr.cases.place import START, certificates
from tests.servers.real import program

NAMES = ["shop.example.com", "www.shop.example.com"]


def part(issued: IssuedCertificate, key: Any) -> PackagePart:
    return PackagePart("x", certificates(issued), key)


@pytest.fixture(scope="module")
def ec_part(issuer: Authority) -> PackagePart:
    key = ec.generate_private_key(ec.SECP256R1())
    return part(issuer.issue(*NAMES, key=key), key)


@pytest.fixture(scope="module")
def rsa_part(issuer: Authority, rsa_key: rsa.RSAPrivateKey) -> PackagePart:
    return part(issuer.issue(*NAMES, key=rsa_key), rsa_key)


def files(data: bytes) -> dict[str, bytes]:
    """Return the files of a package by their names in its folder, whose modes are checked."""
    secret = ("privkey.pem", "combined.pem", ".p12")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16 & 0o777
            assert mode == (0o600 if info.filename.endswith(secret) else 0o644), info.filename
            assert not info.filename.startswith("/")
            assert ".." not in info.filename
        return {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}


def test_package_holds_all_files_and_their_checksums(ec_part: PackagePart) -> None:
    found = files(build_package("CM-ABC234", NAMES, [ec_part], "pw", START))
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
    snippets = ("nginx.conf", "apache.conf", "haproxy.cfg", "iis.txt", "java.txt")
    assert {f"snippets/{n}" for n in snippets} <= set(found)
    sums = {line[66:]: line[:64] for line in found["SHA256SUMS"].decode().splitlines()}
    others = {n: d for n, d in found.items() if n != "SHA256SUMS"}
    assert sums == {n: hashlib.sha256(d).hexdigest() for n, d in others.items()}
    assert fingerprint(ec_part.chain[0].sha256).encode() in found["README.txt"]
    assert found["combined.pem"] == found["fullchain.pem"] + found["privkey.pem"]
    p12 = load_pkcs12(found["certificate.p12"], b"pw")
    assert p12.key is not None
    assert spki(p12.key.public_key()) == spki(ec_part.key.public_key())


def test_package_without_a_password_has_no_pkcs12(ec_part: PackagePart) -> None:
    found = files(build_package("CM-ABC234", NAMES, [ec_part], "", START))
    assert "certificate.p12" not in found
    assert b"No PKCS#12" in found["README.txt"]


def test_package_without_a_key_has_no_files_that_need_it(ec_part: PackagePart) -> None:
    found = files(build_package("CM-ABC234", NAMES, [PackagePart("x", ec_part.chain)], "pw", START))
    assert not {"privkey.pem", "combined.pem", "certificate.p12"} & set(found)
    assert b"The client has the private key" in found["README.txt"]


def test_package_of_two_key_types_has_a_folder_for_each(
    ec_part: PackagePart, rsa_part: PackagePart
) -> None:
    found = files(build_package("CM-ABC234", NAMES, [ec_part, rsa_part], "pw", START))
    expected = {"ec/privkey.pem", "rsa/privkey.pem", "ec/certificate.p12", "rsa/combined.pem"}
    assert expected <= set(found)
    assert found["snippets/nginx.conf"].count(b"ssl_certificate_key") == 2


def test_hostile_name_in_a_certificate_stays_text(issuer: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    hostile = x509.NameAttribute(NameOID.COMMON_NAME, "../../etc/x\r\n; rm \x1b[31m")
    issued = issuer.issue(*NAMES, key=key, subject=x509.Name([hostile]))
    packed = files(build_package("CM-ABC234", NAMES, [part(issued, key)], "", START))
    assert any(name.endswith("privkey.pem") for name in packed)
    for name, data in packed.items():
        assert "etc" not in name
        assert b"\x1b" not in data


SNIPPETS = {"nginx": "nginx.conf", "apache2": "apache.conf", "haproxy": "haproxy.cfg"}


def check(server: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Let the server check the snippet, with the files at the paths that the snippet names."""
    name = SNIPPETS[server]
    snippet = (folder / "ssl/snippets" / name).read_text()
    snippet = snippet.replace("/etc/ssl/CM-ABC234", str(folder / "ssl")).replace("443", "18443")
    config = folder / name
    match server:
        case "nginx":
            around = (
                f"pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{ access_log"
                " off;\n%s\n}\n"
            )
            log = str(folder / "e.log")
            command = [program("nginx", "nginx-light"), "-t", "-c", str(config), "-e", log]
        case "apache2":
            modules = ("mpm_event", "authz_core", "ssl")
            loads = "".join(
                f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in modules
            )
            around = (
                f"{loads}ServerRoot {folder}\nPidFile {folder}/pid\n"
                f"ErrorLog {folder}/error.log\nListen 443\nServerName localhost\n%s\n"
            )
            command = [program("apache2", "apache2-bin"), "-t", "-f", str(config)]
        case _:
            around = (
                "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n"
                "    timeout server 1s\n%s\nbackend site\n    server one 127.0.0.1:8080\n"
            )
            command = [program("haproxy", "haproxy"), "-c", "-f", str(config)]
    config.write_text(around % snippet)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def unpack(data: bytes, folder: Path) -> None:
    for name, content in files(data).items():
        path = folder / "ssl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("server", SNIPPETS)
@pytest.mark.parametrize("shape", ["one", "two keys", "a wildcard alone"])
def test_server_accepts_the_files_with_their_snippet_and_not_without_the_keys(
    issuer: Authority,
    ec_part: PackagePart,
    rsa_part: PackagePart,
    tmp_path: Path,
    server: str,
    shape: str,
) -> None:
    names, parts = list(NAMES), [ec_part]
    if shape == "two keys":
        parts.append(rsa_part)
    if shape == "a wildcard alone":
        key = ec.generate_private_key(ec.SECP256R1())
        names = ["*.shop.example.com"]
        parts = [part(issuer.issue(*names, key=key), key)]
    unpack(build_package("CM-ABC234", names, parts, "", START), tmp_path)
    if shape == "two keys" and server == "haproxy":  # as the comment in its snippet describes
        for kind, end in (("ec", "ecdsa"), ("rsa", "rsa")):
            combined = (tmp_path / f"ssl/{kind}/combined.pem").read_bytes()
            (tmp_path / f"ssl/site.pem.{end}").write_bytes(combined)
    done = check(server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.casefold(), done.stderr
    for path in (tmp_path / "ssl").rglob("*.pem*"):
        if b"PRIVATE KEY" in path.read_bytes():
            path.unlink()
    assert check(server, tmp_path).returncode, "the check reads the files that the snippet names"


def test_openssl_shows_the_fingerprint_that_is_named(ec_part: PackagePart, tmp_path: Path) -> None:
    unpack(build_package("CM-ABC234", NAMES, [ec_part], "", START), tmp_path)
    certificate = str(tmp_path / "ssl/cert.pem")
    command = [program("openssl", "openssl"), "x509", "-in", certificate, "-noout"]
    command += ["-fingerprint", "-sha256"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith(fingerprint(ec_part.chain[0].sha256))
