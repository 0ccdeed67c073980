"""The installation package: one zip archive with all files that an administrator installs.

It contains chain, key, combined file, PKCS#12 file, configuration snippets, checksums and the
expected fingerprint. All functions are pure.

File names in the archive are constants. Names from the certificate appear only in texts, escaped
for each format. The caller writes the archive with mode 0600.
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
    """One certificate of the package.

    Attributes:
        key_type: The type of its key.
        chain: The chain, leaf first.
        key: The private key; None if the client has it.
    """

    key_type: str
    chain: tuple[Certificate, ...]
    key: Any = None

    @property
    def folder(self) -> str:
        """The folder of this part in a package with two key types."""
        return "rsa" if self.chain[0].key_type == "RSA" else "ec"


def fingerprint(sha256: str) -> str:
    """Format a SHA-256 digest as openssl and browsers display it: AB:CD:..."""
    return ":".join(sha256[i : i + 2] for i in range(0, len(sha256), 2)).upper()


def build_package(
    reference: str, names: Sequence[str], parts: Sequence[PackagePart], password: str, now: datetime
) -> bytes:
    """Build the zip archive.

    Args:
        reference: The reference of the case.
        names: The names of the case.
        parts: One part per key type.
        password: The password of the PKCS#12 file. If it is empty, no such file is made, because
            without a password its key is practically unprotected.
        now: The time of the files in the archive.
    """
    files: dict[str, bytes] = {}
    for part in parts:
        folder = f"{part.folder}/" if len(parts) > 1 else ""
        files |= {
            f"{folder}{name}": data for name, data in _part_files(part, reference, password).items()
        }
    files |= {
        f"snippets/{name}": text.encode()
        for name, text in snippets(reference, names, parts).items()
    }
    files["README.txt"] = _readme(reference, names, parts, password, now).encode()
    sums = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())
    )
    # The sums cover all other files, so that an incomplete copy is found before the installation.
    files["SHA256SUMS"] = sums.encode()
    return _zip(reference, files, now)


def _zip(reference: str, files: Mapping[str, bytes], now: datetime) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(f"{reference}/{name}", now.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, so that unpackers apply the permissions
            info.external_attr = (0o100600 if _secret(name) else 0o100644) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _secret(name: str) -> bool:
    """Return whether a file contains a private key."""
    return name.endswith(("privkey.pem", "combined.pem", ".p12"))


def _pem(certificates: Sequence[Certificate]) -> bytes:
    return b"".join(
        c.parsed.public_bytes(Encoding.PEM) for c in certificates if c.parsed is not None
    )


def _part_files(part: PackagePart, reference: str, password: str) -> dict[str, bytes]:
    """Return the files of one certificate by name."""
    files = {
        # Administrators and their scripts know these names from certbot.
        "cert.pem": _pem(part.chain[:1]),
        "chain.pem": _pem(part.chain[1:]),
        "fullchain.pem": _pem(part.chain),
    }
    # Without the key, the combined file and the PKCS#12 file can only be made by the client.
    if part.key is None:
        return files
    private = pem(part.key)
    # HAProxy reads chain and key from one file.
    files |= {"privkey.pem": private, "combined.pem": _pem(part.chain) + private}
    if password:
        files["certificate.p12"] = build_pkcs12(
            part.key, part.chain, alias=reference, password=password
        )
    return files


def _paths(parts: Sequence[PackagePart], file: str) -> list[str]:
    return [f"{p.folder}/{file}" if len(parts) > 1 else file for p in parts]


def snippets(reference: str, names: Sequence[str], parts: Sequence[PackagePart]) -> dict[str, str]:
    """Return a configuration snippet for each supported server, by file name.

    The database accepts only valid DNS names, so that no name can end a line or a quotation.
    """
    home = f"/etc/ssl/{reference}"
    hosts = " ".join(names)
    # The ServerName of Apache and the binding of IIS need a host, which a wildcard is not.
    first = next((n for n in names if not n.startswith("*.")), names[0].removeprefix("*."))
    nginx = "".join(
        f"    ssl_certificate     {home}/{c};\n    ssl_certificate_key {home}/{k};\n"
        for c, k in zip(_paths(parts, "fullchain.pem"), _paths(parts, "privkey.pem"), strict=True)
    )
    apache = "".join(
        f"    SSLCertificateFile    {home}/{c}\n    SSLCertificateKeyFile {home}/{k}\n"
        for c, k in zip(_paths(parts, "fullchain.pem"), _paths(parts, "privkey.pem"), strict=True)
    )
    # HAProxy selects between key types by the suffixes .rsa and .ecdsa of one base name.
    haproxy = "\n".join(
        f"    bind :443 ssl crt {home}/{c}" for c in _paths(parts, "combined.pem")[:1]
    )
    if len(parts) > 1:
        haproxy = (
            f"    # Copy ec/combined.pem to {home}/site.pem.ecdsa and rsa/combined.pem to"
            f" {home}/site.pem.rsa\n    bind :443 ssl crt {home}/site.pem"
        )
    p12 = _paths(parts, "certificate.p12")[0]
    # Windows identifies certificates by their SHA-1 thumbprint; nothing relies on its strength.
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
        # The store WebHosting is made for many certificates, unlike the store of the machine. Old
        # editors of Windows need CRLF at the end of a line.
        "iis.txt": (
            "In PowerShell, as administrator:\r\n  $p = Read-Host -AsSecureString 'Password of the"
            f" PKCS#12'\r\n  Import-PfxCertificate -FilePath {p12.replace('/', chr(92))}"
            " -CertStoreLocation Cert:\\LocalMachine\\WebHosting -Password $p\r\n  Get-WebBinding"
            f" -Protocol https -HostHeader '{first}' | ForEach-Object {{"
            f" $_.AddSslCertificate('{thumbprint}', 'WebHosting') }}\r\n"
        ),
        "java.txt": (
            "Java reads PKCS#12 files directly:\n  Tomcat: <Certificate"
            f' certificateKeystoreFile="{home}/{p12}" certificateKeystoreType="PKCS12"'
            ' certificateKeystorePassword="..."/>\n  To import into an existing keystore: keytool'
            f" -importkeystore -srckeystore {p12} -srcstoretype PKCS12 -destkeystore keystore.p12"
            f" -deststoretype PKCS12 -alias {reference.lower()}\n"
        ),
    }


def _readme(
    reference: str, names: Sequence[str], parts: Sequence[PackagePart], password: str, now: datetime
) -> str:
    """Return the README of the package: certificates, fingerprints and the next steps."""
    lines = [
        f"Case {reference}, created {now:%Y-%m-%d %H:%M} UTC",
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
                "  The client has the private key and makes combined.pem and PKCS#12 with it.",
                "",
            ]
    if any(p.key is not None for p in parts) and not password:
        lines += [
            (
                "No PKCS#12 file was created: it needs a password. Give one to certmgr case package"
                " (--password env:NAME or file:PATH)."
            ),
            "",
        ]
    lines += [
        "Install fullchain.pem and privkey.pem (snippets/), reload the server, then:",
        f"  certmgr case install {reference}",
        f"  certmgr case verify {reference}",
        (
            "Every address of every name must serve this SHA-256. Then delete this archive, because"
            " it contains the private key."
        ),
        "",
    ]
    return "\n".join(lines)
