"""Reads an export of win-acme or simple-acme: a copy of its folder with key files.

    *.renewal.json       Id, LastFriendlyName, TargetPluginOptions (CommonName, AlternativeNames),
                         ValidationPluginOptions, InstallationPluginOptions, History (thumbprints)
    Registration_v2      the account: Kid (its URL), Payload with contact
    Signer_v2            the account key: KeyType and KeyExport; usually encrypted by Windows
    *-key.pem, *-chain.pem, *-crt.pem, *.pfx       what its PEM and PFX stores wrote, or an export

The keys of the Windows certificate store are not in that folder: the administrator exports them as
PEM or PFX and puts them next to it. win-acme runs on another machine, so nothing is disabled here.
Source: the manual of win-acme and simple-acme (renewal management, PEM files, PFX file, settings).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certmgr.deploy.client_model import (
    ClientAccount,
    ClientInstallation,
    ClientLineage,
    ClientProblem,
)
from certmgr.deploy.clients import reading
from certmgr.deploy.clients.pem_files import certificates_in, key_in
from certmgr.x509.bundle import CertificateBundle, build_bundle
from certmgr.x509.key_store import pem
from certmgr.x509.private_keys import intact
from certmgr.x509.upload import VendorUpload, unpack
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, parse
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular
from inventory.text import printable

# Each PFX costs a process and a key derivation; an export of win-acme has one per certificate.
_MAX_FILES, _MAX_PFX, _MAX_CHAIN = 5000, 100, 10
_PEM_SUFFIXES = (".pem", ".crt", ".cer", ".key")
_PFX_SUFFIXES = (".pfx", ".p12")
_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}


def recognises(path: Path) -> bool:
    """Return whether a directory is an export of win-acme."""
    return next(_files(path, (".json",)), None) is not None


def _files(path: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield files by suffix; of JSON files only renewals. The number is limited."""
    for file in sorted(islice(path.rglob("*"), _MAX_FILES)):
        if suffixes == (".json",) and not file.name.lower().endswith(".renewal.json"):
            continue
        if file.suffix.lower() in suffixes and file.is_file():
            yield file


@dataclass(frozen=True, slots=True)
class _Material:
    """The keys and certificates of an export."""

    keys: tuple[bytes, ...]
    certificates: tuple[Certificate, ...]


def read(path: Path, interrupted: Mapping[str, str], password: str = "") -> ClientInstallation:
    """Read an export of win-acme.

    Args:
        path: The directory.
        interrupted: Not used, because nothing of win-acme is changed.
        password: The password of the PFX files.

    Raises:
        UsageError: It contains no renewal.
    """
    if not path.is_dir() or not recognises(path):
        raise UsageError(
            f"{path} is not an export of win-acme",
            "it contains no *.renewal.json",
            "Copy the folder %programdata%\\win-acme from the Windows machine, and put the exported"
            " PEM or PFX files into it.",
        )
    problems: list[ClientProblem] = []
    material = _material(path, password, problems)
    accounts = []
    for file in sorted(path.rglob("Registration_v2")):
        account = reading.attempt(problems, file, partial(_account, path, file), "")
        if account is not None:
            accounts.append(account)
    lineages: dict[str, ClientLineage] = {}
    for file in _files(path, (".json",)):
        label = file.name[: -len(".renewal.json")]
        found = reading.attempt(problems, file, partial(_lineage, file, material, accounts), label)
        if found is not None and found.name in lineages:
            problems.append(
                ClientProblem(file, f"another renewal is also named '{found.name}'", label)
            )
        elif found is not None:
            lineages[found.name] = found
    return ClientInstallation(path, tuple(accounts), tuple(lineages.values()), tuple(problems))


def _material(path: Path, password: str, problems: list[ClientProblem]) -> _Material:
    keys: list[bytes] = []
    ders: dict[bytes, None] = {}
    for file in _files(path, _PEM_SUFFIXES):
        data = reading.attempt(problems, file, partial(read_regular, file, reading.MAX_FILE), "")
        if data:
            ders |= dict.fromkeys(certificates_in(data))
            key = key_in(data)
            keys += [key] if key is not None else []
    # The cache of win-acme has random passwords, which only Windows can decrypt.
    pfx = [f for f in _files(path, _PFX_SUFFIXES) if not f.stem.endswith("-cache")]
    for file in pfx[:_MAX_PFX]:
        upload = reading.attempt(
            problems,
            file,
            partial(_unpacked, file, password),
            "",
        )
        if upload is not None:
            keys += list(upload.keys)
            ders |= dict.fromkeys(c.der for c in upload.certificates)
    return _Material(tuple(dict.fromkeys(keys)), tuple(parse(d) for d in ders))


def _unpacked(file: Path, password: str) -> VendorUpload:
    return unpack([read_regular(file, reading.MAX_FILE)], password)


def _bundles(material: _Material, leaf: Certificate) -> CertificateBundle:
    """Return the bundle of a leaf; without a key if the export has none."""
    chain = [leaf]
    while len(chain) < _MAX_CHAIN:
        issuers = (
            c
            for c in material.certificates
            if c not in chain and c.subject == chain[-1].issuer and issued_by(chain[-1], c)
        )
        # A root at the end is not served: browsers have it.
        following = next((c for c in issuers if c.subject != c.issuer), None)
        if following is None:
            break
        chain.append(following)
    ders = [c.der for c in chain]
    # Files have no fixed names after an export, so that the key is found by the certificate.
    for key in material.keys:
        try:
            return build_bundle(key, ders)
        except CertmgrError:
            continue
    return build_bundle(None, ders)


def _protected(text: str) -> str:
    """Return a value that win-acme did not encrypt.

    Raises:
        UsageError: Windows encrypted it for that machine.
    """
    value = text.strip()
    # win-acme marks what it stored without Windows' encryption.
    if value.startswith("clear-"):
        return base64.b64decode(value.removeprefix("clear-")).decode()
    if value.startswith("{"):
        return value
    raise UsageError(
        "The account key is encrypted",
        "only the Windows machine can decrypt it (setting EncryptConfig of win-acme)",
        "Name an account of the inventory with --account.",
    )


def _account(base: Path, file: Path) -> ClientAccount:
    """Return an account. Its id is its folder in the export."""
    document = json.loads(reading.text_of(file).lstrip("\ufeff"))
    signer = json.loads(_protected(reading.text_of(file.with_name("Signer_v2")).lstrip("\ufeff")))
    contacts = (document.get("Payload") or {}).get("contact") or ()
    return ClientAccount(
        str(file.parent.relative_to(base)),
        "",
        str(document.get("Kid") or ""),
        _account_key(str(signer["KeyType"]), str(signer["KeyExport"])),
        tuple(
            printable(c.removeprefix("mailto:"), 200)
            for c in contacts
            if isinstance(c, str) and c.startswith("mailto:")
        ),
    )


def _number(text: str) -> int:
    """Return a number in base64 or base64url, big endian."""
    data = text.strip().replace("-", "+").replace("_", "/")
    return int.from_bytes(base64.b64decode(data + "=" * (-len(data) % 4)), "big")


def _account_key(kind: str, export: str) -> bytes:
    """Return an account key as PKCS#8: JSON for EC keys, XML (RSAKeyValue) for RSA keys."""
    try:
        if kind in _CURVES:
            secret = _number(str(json.loads(export)["D"]))
            return pem(ec.derive_private_key(secret, _CURVES[kind]))
        values = {
            name: _number(value) for name, value in re.findall(r"<(\w+)>([\w+/=\s-]+)</\1>", export)
        }
        public = rsa.RSAPublicNumbers(values["Exponent"], values["Modulus"])
        d, p, q = values["D"], values["P"], values["Q"]
        numbers = rsa.RSAPrivateNumbers(
            p, q, d, values["DP"], values["DQ"], values["InverseQ"], public
        )
        return pem(intact(numbers.private_key(unsafe_skip_rsa_key_validation=True)))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise UsageError(
            "The account key cannot be read",
            f"its type is {printable(kind, 20)}",
            "Name an account of the inventory with --account.",
        ) from None


def _lineage(file: Path, material: _Material, accounts: list[ClientAccount]) -> ClientLineage:
    document = json.loads(reading.text_of(file).lstrip("\ufeff"))
    target = _options(document, "TargetPluginOptions")
    asked = {
        str(n).lower()
        for n in [target.get("CommonName"), *(target.get("AlternativeNames") or ())]
        if n
    }
    leaf = _leaf(document, asked, material)
    if leaf is None:
        raise UsageError(
            f"The certificate of '{printable(str(document.get('LastFriendlyName', '')), 80)}' is"
            " not in the export",
            "no PEM or PFX file has its names"
            + (f" ({', '.join(sorted(asked)[:5])})" if asked else ""),
            "Export it with its private key on the Windows machine, into the same folder.",
        )
    validation = _options(document, "ValidationPluginOptions")
    folder = str(file.parent)
    account = next((a.id for a in accounts if folder.endswith(a.id)), "")
    hooks = {}
    for step in document.get("InstallationPluginOptions") or ():
        if isinstance(step, dict):
            hooks["installation"] = str(step.get("Script") or "into IIS or another Windows program")
    remarks = ["win-acme renews it until its renewal is cancelled on the Windows machine"]
    return reading.lineage(
        reading.lineage_name(leaf.names[0].replace("*", "_")),
        _bundles(material, leaf),
        live=file.parent,
        configuration=file,
        authenticator=str(validation.get("ChallengeType") or validation.get("Name") or "win-acme"),
        account_id=account or (accounts[0].id if len(accounts) == 1 else ""),
        hooks=hooks,
        remarks=remarks,
    )


def _options(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _leaf(document: Mapping[str, Any], asked: set[str], material: _Material) -> Certificate | None:
    """Return the certificate of a renewal: by its history of thumbprints, else by its names."""
    text = json.dumps(document.get("History") or [])
    prints = {t.lower() for t in re.findall(r"\b[0-9A-Fa-f]{40}\b", text)}
    leaves = [c for c in material.certificates if c.names and c.not_after is not None]
    # The thumbprint of Windows is a SHA-1. It only finds a file here, and proves nothing.
    by_print = [
        c for c in leaves if hashlib.sha1(c.der, usedforsecurity=False).hexdigest() in prints
    ]
    by_name = [c for c in leaves if asked and set(c.names) == asked]
    # A renewal whose names changed since has the old names in its certificate, so that its history
    # comes first.
    candidates = by_print or by_name
    return max(candidates, key=lambda c: str(c.not_after), default=None)
