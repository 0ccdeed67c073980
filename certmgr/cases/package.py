"""What an administrator installs: one zip with chain, key, combined file, PKCS#12, snippets,
checksums and the expected fingerprint. Pure.

Names inside are words of ours; names of the certificate stand in the texts alone, escaped for each.
The file is written by its caller, 0600.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
)

from certmgr.x509.key_store import pem
from certmgr.x509.pkcs12 import build_pkcs12
from inventory.certificates import Certificate
from inventory.names import display
from inventory.text import printable


@dataclass(frozen=True, slots=True)
class PackagePart:
    """One certificate of the package. ``key`` None: the client has it."""

    key_type: str
    chain: tuple[Certificate, ...]
    key: Any = None

    @property
    def folder(self) -> str:
        return "rsa" if self.chain[0].key_type == "RSA" else "ec"


def fingerprint(sha256: str) -> str:
    """As openssl and browsers show it: AB:CD:..."""
    return ":".join(sha256[i : i + 2] for i in range(0, len(sha256), 2)).upper()


def build(
    reference: str, names: Sequence[str], parts: Sequence[PackagePart], password: str, now: datetime
) -> bytes:
    """``password``: of the PKCS#12; empty: none is made, since one without a password is a key in
    the open for most tools.
    """
    files: dict[str, bytes] = {}
    for part in parts:
        folder = f"{part.folder}/" if len(parts) > 1 else ""
        files |= {
            f"{folder}{name}": data for name, data in _material(part, reference, password).items()
        }
    files |= {
        f"snippets/{name}": text.encode()
        for name, text in snippets(reference, names, parts).items()
    }
    files["README.txt"] = _readme(reference, names, parts, password, now).encode()
    sums = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())
    )
    files["SHA256SUMS"] = sums.encode()
    return _zip(reference, files, now)


def _zip(reference: str, files: Mapping[str, bytes], now: datetime) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(f"{reference}/{name}", now.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # permissions are those of Unix
            info.external_attr = (0o100600 if _secret(name) else 0o100644) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _secret(name: str) -> bool:
    return name.endswith(("privkey.pem", "combined.pem", ".p12"))


def _pem(certificates: Sequence[Certificate]) -> bytes:
    return b"".join(
        c.parsed.public_bytes(Encoding.PEM) for c in certificates if c.parsed is not None
    )


def _material(part: PackagePart, reference: str, password: str) -> dict[str, bytes]:
    files = {
        "cert.pem": _pem(part.chain[:1]),
        "chain.pem": _pem(part.chain[1:]),
        "fullchain.pem": _pem(part.chain),
    }
    if part.key is None:
        return files
    private = pem(part.key)
    files |= {"privkey.pem": private, "combined.pem": _pem(part.chain) + private}
    if password:
        files["certificate.p12"] = build_pkcs12(
            part.key, part.chain, alias=reference, password=password
        )
    return files


def _paths(parts: Sequence[PackagePart], file: str) -> list[str]:
    return [f"{p.folder}/{file}" if len(parts) > 1 else file for p in parts]


def snippets(reference: str, names: Sequence[str], parts: Sequence[PackagePart]) -> dict[str, str]:
    """How each server is told.

    Names are DNS names by their table, so that none can end a line or a quotation.
    """
    home = f"/etc/ssl/{reference}"
    hosts = " ".join(names)
    first = next((n for n in names if not n.startswith("*.")), names[0].removeprefix("*."))
    nginx = "".join(
        f"    ssl_certificate     {home}/{c};\n    ssl_certificate_key {home}/{k};\n"
        for c, k in zip(_paths(parts, "fullchain.pem"), _paths(parts, "privkey.pem"), strict=True)
    )
    apache = "".join(
        f"    SSLCertificateFile    {home}/{c}\n    SSLCertificateKeyFile {home}/{k}\n"
        for c, k in zip(_paths(parts, "fullchain.pem"), _paths(parts, "privkey.pem"), strict=True)
    )
    haproxy = "\n".join(
        f"    bind :443 ssl crt {home}/{c}" for c in _paths(parts, "combined.pem")[:1]
    )
    if len(parts) > 1:
        haproxy = (
            f"    # Copy ec/combined.pem to {home}/site.pem.ecdsa and rsa/combined.pem to"
            f" {home}/site.pem.rsa\n    bind :443 ssl crt {home}/site.pem"
        )
    p12 = _paths(parts, "certificate.p12")[0]
    thumbprint = hashlib.sha1(parts[0].chain[0].der, usedforsecurity=False).hexdigest().upper()
    aliases = "\n".join(f"    ServerAlias {n}" for n in names if n != first)
    return {
        "nginx.conf": (
            "server {\n    listen 443 ssl;\n    listen [::]:443 ssl;\n    server_name"
            f" {hosts};\n{nginx}}}\n# nginx -t && nginx -s reload\n"
        ),
        "apache.conf": (
            f"<VirtualHost *:443>\n    ServerName {first}\n{aliases}\n    SSLEngine"
            f" on\n{apache}</VirtualHost>\n# apachectl configtest && apachectl graceful\n"
        ),
        "haproxy.cfg": (
            f"frontend https\n{haproxy}\n    default_backend site\n# haproxy -c -f"
            " /etc/haproxy/haproxy.cfg && systemctl reload haproxy\n"
        ),
        "iis.txt": (
            "In PowerShell, as administrator:\r\n  $p = Read-Host -AsSecureString 'Password of the"
            f" PKCS#12'\r\n  Import-PfxCertificate -FilePath {p12.replace('/', chr(92))}"
            " -CertStoreLocation Cert:\\LocalMachine\\WebHosting -Password $p\r\n  Get-WebBinding"
            f" -Protocol https -HostHeader '{first}' | ForEach-Object {{"
            f" $_.AddSslCertificate('{thumbprint}', 'WebHosting') }}\r\n"
        ),
        "java.txt": (
            "Java reads PKCS#12 as it is:\n  Tomcat: <Certificate"
            f' certificateKeystoreFile="{home}/{p12}" certificateKeystoreType="PKCS12"'
            ' certificateKeystorePassword="..."/>\n  Into a keystore that exists: keytool'
            f" -importkeystore -srckeystore {p12} -srcstoretype PKCS12 -destkeystore keystore.p12"
            f" -deststoretype PKCS12 -alias {reference.lower()}\n"
        ),
    }


def _readme(
    reference: str, names: Sequence[str], parts: Sequence[PackagePart], password: str, now: datetime
) -> str:
    lines = [
        f"Case {reference}, made {now:%Y-%m-%d %H:%M} UTC",
        "",
        "Names: " + ", ".join(display(n) for n in names),
        "",
    ]
    for part in parts:
        leaf = part.chain[0]
        lines += [
            f"Certificate ({leaf.key})",
            f"  serial       {leaf.serial}",
            f"  issuer       {printable(leaf.issuer, 200)}",
            f"  valid until  {leaf.not_after:%Y-%m-%d %H:%M} UTC" if leaf.not_after else "",
            f"  SHA-256      {fingerprint(leaf.sha256)}",
            "",
        ]
        if part.key is None:
            lines += [
                "  The private key is with the client: combined.pem and PKCS#12 are made there.",
                "",
            ]
    if any(p.key is not None for p in parts) and not password:
        lines += [
            (
                "No PKCS#12 was made: give its password to certmgr case package (--password"
                " env:NAME or file:PATH)."
            ),
            "",
        ]
    lines += [
        "Install fullchain.pem and privkey.pem (snippets/), reload the server, then:",
        f"  certmgr case install {reference}",
        f"  certmgr case verify {reference}",
        (
            "This SHA-256 must be seen at every address of every name. Delete this archive when"
            " that is done: it holds the private key."
        ),
        "",
    ]
    return "\n".join(lines)
