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


def checks(server: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the server says of the snippet, with the files where the snippet says that they are."""
    name = {"nginx": "nginx.conf", "apache2": "apache.conf", "haproxy": "haproxy.cfg"}[server]
    snippet = (folder / "ssl/snippets" / name).read_text().replace("/etc/ssl/CM-ABC234", str(folder / "ssl"))
    config = folder / name
    match server:
        case "nginx":
            around = f"pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{ access_log off;\n%s\n}}\n"
            command = [program("nginx", "nginx-light"), "-t", "-c", str(config), "-e", str(folder / "e.log")]
        case "apache2":
            modules = ("mpm_event", "authz_core", "ssl")
            loads = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in modules)
            around = f"{loads}ServerRoot {folder}\nPidFile {folder}/pid\nErrorLog {folder}/error.log\nListen 443\nServerName localhost\n%s\n"
            command = [program("apache2", "apache2-bin"), "-t", "-f", str(config)]
        case _:
            around = "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n%s\nbackend site\n    server one 127.0.0.1:8080\n"
            command = [program("haproxy", "haproxy"), "-c", "-f", str(config)]
    config.write_text(around % snippet.replace("443", "18443"))
    return subprocess.run(command, capture_output=True, text=True, check=False)


def unpacked(data: bytes, folder: Path) -> None:
    for name, content in files(data).items():
        path = folder / "ssl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("server", ["nginx", "apache2", "haproxy"])
@pytest.mark.parametrize("shape", ["one", "two keys", "a wildcard alone"])
def test_servers_take_the_files_and_the_snippet(issuer: Authority, one: Part, tmp_path: Path, server: str, shape: str) -> None:
    names, parts = list(NAMES), [one]
    if shape == "two keys":
        key = rsa.generate_private_key(65537, 2048)
        parts.append(part(issuer.issue(*NAMES, key=key), key))
    if shape == "a wildcard alone":
        own = ec.generate_private_key(ec.SECP256R1())
        names, parts = ["*.shop.example.com"], [part(issuer.issue("*.shop.example.com", key=own), own)]
    unpacked(build("CM-ABC234", names, parts, "", START), tmp_path)
    if shape == "two keys" and server == "haproxy":  # as its comment says
        for kind, end in (("ec", "ecdsa"), ("rsa", "rsa")):
            (tmp_path / f"ssl/site.pem.{end}").write_bytes((tmp_path / f"ssl/{kind}/combined.pem").read_bytes())
    done = checks(server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.casefold(), done.stderr
    for path in (tmp_path / "ssl").rglob("*.pem*"):
        if b"PRIVATE KEY" in path.read_bytes():
            path.unlink()
    assert checks(server, tmp_path).returncode, "the check reads the files that the snippet names"


def test_openssl_sees_the_fingerprint_that_is_named(one: Part, tmp_path: Path) -> None:
    unpacked(build("CM-ABC234", NAMES, [one], "", START), tmp_path)
    checked = subprocess.run(
        [program("openssl", "openssl"), "x509", "-in", str(tmp_path / "ssl/cert.pem"), "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stdout.strip().endswith(fingerprint(one.chain[0].sha256))
