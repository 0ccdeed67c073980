"""Writes directories in the layouts of acme.sh, lego, dehydrated and win-acme.

The layouts of lego 4.9 and dehydrated 0.7 are compared with the real programs
(tests/certmgr/acme/takeover/test_adopt_clients.py). acme.sh and win-acme are written after their
sources and manuals, because Debian has neither.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from certmgr.demo.authority import IssuedCertificate

SERVER = "https://acme-v02.api.letsencrypt.org/directory"
ACCOUNT = "https://acme-v02.api.letsencrypt.org/acme/acct/4711"


def pem_key(key: Any) -> bytes:
    """Return a key as OpenSSL's traditional PEM, as these clients write it."""
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return data


def parts(issued: IssuedCertificate) -> tuple[bytes, bytes, bytes, bytes]:
    """Return key, leaf, chain and full chain as PEM."""
    pem = [c.public_bytes(Encoding.PEM) for c in issued.chain]
    return issued.key_pem, pem[0], b"".join(pem[1:]), b"".join(pem)


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data)
    path.chmod(mode)
    return path


def encoded(text: str) -> str:
    """Return a value of a hook as acme.sh stores it."""
    return f"__ACME_BASE64__START_{base64.b64encode(text.encode()).decode()}__ACME_BASE64__END_"


def acme_sh_account(base: Path, key: Any = None) -> Path:
    folder = base / "ca" / "acme-v02.api.letsencrypt.org" / "directory"
    write(folder / "account.key", pem_key(key or ec.generate_private_key(ec.SECP256R1())))
    write(folder / "account.json", json.dumps({"status": "valid"}).encode())
    write(folder / "ca.conf", f"CA_EMAIL='ca@shop.test'\nACCOUNT_URL='{ACCOUNT}'\n".encode())
    write(
        base / "account.conf",
        b"LOG_FILE='/root/.acme.sh/acme.sh.log'\n\nUSER_PATH='/bin:/sbin'\n"
        b"DEFAULT_ACME_SERVER='https://acme-v02.api.letsencrypt.org/directory'\n",
    )
    return folder


def acme_sh_certificate(
    base: Path,
    name: str,
    issued: IssuedCertificate,
    *,
    suffix: str = "_ecc",
    values: Mapping[str, str] | None = None,
) -> Path:
    """Create a certificate of acme.sh and return its folder."""
    folder = base / f"{name}{suffix}"
    key, leaf, chain, full = parts(issued)
    for file, data in ((f"{name}.key", key), (f"{name}.cer", leaf)):
        write(folder / file, data)
    write(folder / "ca.cer", chain, 0o644)
    write(folder / "fullchain.cer", full, 0o644)
    settings = {
        "Le_Domain": name,
        "Le_Alt": "no",
        "Le_Webroot": "/var/www/html",
        "Le_PreHook": "",
        "Le_API": SERVER,
        "Le_Keylength": "ec-256",
        "Le_LinkCert": "https://acme-v02.api.letsencrypt.org/acme/cert/1",
        "Le_CertCreateTime": "1790000000",
        "Le_NextRenewTime": "1795000000",
        **(values or {}),
    }
    text = "".join(f"{k}='{v}'\n" for k, v in settings.items())
    write(folder / f"{name}.conf", text.encode(), 0o644)
    for option, data in (
        ("Le_RealKeyPath", key),
        ("Le_RealFullChainPath", full),
        ("Le_RealCertPath", leaf),
        ("Le_RealCACertPath", chain),
    ):
        if path := settings.get(option):
            write(Path(path), data)
    return folder


def lego_account(base: Path, email: str = "ca@shop.test", key: Any = None) -> Path:
    folder = base / "accounts" / "acme-v02.api.letsencrypt.org" / email
    body = {"status": "valid", "contact": [f"mailto:{email}"]}
    document = {"email": email, "registration": {"body": body, "uri": ACCOUNT}}
    write(folder / "account.json", json.dumps(document, indent="\t").encode())
    write(
        folder / "keys" / f"{email}.key",
        pem_key(key or ec.generate_private_key(ec.SECP256R1())),
    )
    return folder


def lego_5_account(base: Path, name: str = "ca@shop.test", *, folder: str = "") -> Path:
    """Create an account as version 5 of lego stores it. ``folder``: below that of the account."""
    path = base / "accounts" / "acme-v02.api.letsencrypt.org" / name / folder
    document = {
        "id": name,
        "email": "ca@shop.test",
        "keyType": "EC256",
        "server": SERVER,
        "registration": {
            "status": "valid",
            "contact": ["mailto:ca@shop.test"],
            "orders": f"{ACCOUNT}/orders",
            "accountURL": ACCOUNT,
        },
    }
    write(path / "account.json", json.dumps(document, indent="\t").encode())
    write(path / f"{name}.key", pem_key(ec.generate_private_key(ec.SECP256R1())))
    return path


def lego_certificate(
    base: Path, name: str, issued: IssuedCertificate, *, bundle: bool = True
) -> Path:
    """Create a certificate of lego and return its folder."""
    folder = base / "certificates"
    key, leaf, chain, full = parts(issued)
    stem = name.replace("*", "_")
    write(folder / f"{stem}.key", key)
    write(folder / f"{stem}.crt", full if bundle else leaf)
    write(folder / f"{stem}.issuer.crt", chain)
    url = "https://acme-v02.api.letsencrypt.org/acme/cert/1"
    document = {"domain": name, "certUrl": url, "certStableUrl": url}
    write(folder / f"{stem}.json", json.dumps(document, indent="\t").encode())
    return folder


def dehydrated_base(base: Path, *, more: str = "", key: Any = None) -> Path:
    """Create the configuration and account of dehydrated, and return the folder."""
    text = f'# a comment\nBASEDIR={base}\nDOMAINS_TXT="${{BASEDIR}}/domains.txt"\nKEYSIZE="4096"\n'
    write(base / "config", (text + more).encode(), 0o644)
    name = base64.urlsafe_b64encode(f"{SERVER}\n".encode()).decode().rstrip("=")
    folder = base / "accounts" / name
    write(folder / "account_key.pem", pem_key(key or ec.generate_private_key(ec.SECP256R1())))
    write(folder / "account_id.json", json.dumps({"url": ACCOUNT}).encode())
    contact = {"status": "valid", "contact": ["mailto:ca@shop.test"]}
    write(folder / "registration_info.json", json.dumps(contact).encode())
    return base


def dehydrated_certificate(
    base: Path, line: str, issued: IssuedCertificate, *, stamp: int = 1795872846
) -> Path:
    """Create a certificate of dehydrated with its line in domains.txt, and return its folder."""
    domains = base / "domains.txt"
    text = domains.read_text() if domains.exists() else "# certificates\n\n"
    write(domains, f"{text}{line}\n".encode(), 0o644)
    names, _, alias = line.partition(">")
    folder = base / "certs" / (alias.strip() or names.split()[0])
    kinds = ("privkey", "cert", "chain", "fullchain")
    for kind, data in zip(kinds, parts(issued), strict=True):
        write(folder / f"{kind}-{stamp}.pem", data)
        (folder / f"{kind}.pem").symlink_to(f"{kind}-{stamp}.pem")
    return folder


def win_acme_renewal(base: Path, name: str, names: list[str], **more: Any) -> Path:
    """Create a renewal of win-acme and return its file."""
    document = {
        "Id": "A1b2C3",
        "LastFriendlyName": f"[Manual] {names[0]}",
        "PfxPasswordProtected": "enc-AQAAANCMnd8BFdERjHoAwE",
        "TargetPluginOptions": {
            "Plugin": "e239db3b-b42f-48aa-b64f-46d4f3e9941b",
            "CommonName": names[0],
            "AlternativeNames": names,
        },
        "ValidationPluginOptions": {
            "ChallengeType": "http-01",
            "Plugin": "c7d5e050-9363-4ba1-b3a8-931b31c618b7",
        },
        "InstallationPluginOptions": [{"Plugin": "ea6a5be3-f8de-4d27-a6bd-750b619b2ee2"}],
        "History": [{"Date": "2026-11-01T10:00:00Z", "Success": True}],
        **more,
    }
    text = "\ufeff" + json.dumps(document, indent=2)
    return write(base / f"{name}.renewal.json", text.encode())


def win_acme_pem(base: Path, name: str, issued: IssuedCertificate) -> None:
    """Write what the PEM store of win-acme writes."""
    key, leaf, chain, full = parts(issued)
    write(base / f"{name}-key.pem", key)
    write(base / f"{name}-crt.pem", leaf)
    write(base / f"{name}-chain.pem", full)
    write(base / f"{name}-chain-only.pem", chain)


def win_acme_account(base: Path, key: ec.EllipticCurvePrivateKey, *, readable: bool = True) -> None:
    numbers = key.private_numbers()

    def text(value: int) -> str:
        return base64.b64encode(value.to_bytes(32, "big")).decode()

    export = {
        "HashSize": 256,
        "D": text(numbers.private_value),
        "X": text(numbers.public_numbers.x),
        "Y": text(numbers.public_numbers.y),
    }
    signer = json.dumps({"KeyType": "ES256", "KeyExport": json.dumps(export)})
    protected = "clear-" + base64.b64encode(signer.encode()).decode()
    write(base / "Signer_v2", (protected if readable else "enc-AQAAANCMnd8B").encode())
    registration = {"Payload": {"contact": ["mailto:ca@shop.test"]}, "Kid": ACCOUNT}
    write(base / "Registration_v2", json.dumps(registration).encode())


def cron_table(root: Path, line: str) -> Path:
    return write(root / "var/spool/cron/crontabs/root", f"{line}\n".encode())


def timer(root: Path, name: str, command: str) -> Path:
    """Create an enabled timer with its service, and return the link that enables it."""
    units = root / "etc/systemd/system"
    write(units / f"{name}.timer", b"[Timer]\nOnCalendar=daily\n", 0o644)
    write(units / f"{name}.service", f"[Service]\nExecStart={command}\n".encode(), 0o644)
    link = units / "timers.target.wants" / f"{name}.timer"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"../{name}.timer")
    return link
