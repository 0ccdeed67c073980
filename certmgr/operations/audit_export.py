"""The audit log as a file with a signature, which a reader verifies without the database.

The file is JSON, one object per line: a header, the entries in their order, and a seal. The hash of
each entry covers the entry before it (inventory/db/audit_chain.py). The seal names the number of
entries, the last hash and the SHA-256 of all lines before it, and its Ed25519 signature covers
these. docs/verify_audit.py verifies the same with Python and the package ``cryptography`` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from certmgr.x509.private_keys import load_pem
from inventory.db.audit_chain import START, link
from inventory.errors import CertmgrError, UsageError
from inventory.files import open_regular, read_regular
from inventory.records import AuditRecord
from inventory.text import printable

SCHEMA = "certmgr.audit-export/1"
_MAX_LINE = 16_000_000  # bytes; an entry of a large import is below 1 MB
_MAX_KEY = 65_536
_NEW_KEY = "Make one: openssl genpkey -algorithm ed25519 -out audit.key"


@dataclass(frozen=True, slots=True)
class VerifiedExport:
    """A file whose chain is intact.

    Attributes:
        entries: The number of entries.
        head: The hash of the last entry.
        exported_at: When the file was written (RFC 3339), as its seal states.
        signed: Whether the seal has a signature.
        verified: Whether the signature was verified with a public key.
    """

    entries: int
    head: str
    exported_at: str
    signed: bool
    verified: bool


def signing_key(path: Path, passphrase: str) -> Ed25519PrivateKey:
    """Read an Ed25519 private key (PEM).

    Raises:
        UsageError: The file contains no such key, or the passphrase is wrong or missing.
        CertmgrError: The file cannot be read.
    """
    data = read_regular(path, _MAX_KEY)
    key: object
    try:
        key = load_pem(data)
    except TypeError:
        key = _decrypted(data, path, passphrase)
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{path} contains no private key in PEM", "", f"{_NEW_KEY}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(
            f"{path} is no Ed25519 key", "the audit log is signed with Ed25519", _NEW_KEY
        )
    return key


def _decrypted(data: bytes, path: Path, passphrase: str) -> object:
    todo = "Set [audit] passphrase to env:NAME or file:PATH."
    if not passphrase:
        raise UsageError(f"{path} is encrypted", "no passphrase is configured", todo)
    try:
        return load_pem(data, passphrase.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{path} cannot be decrypted", "the passphrase is wrong", todo) from None


def public_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key (PEM).

    Raises:
        UsageError: The file contains no such key.
        CertmgrError: The file cannot be read.
    """
    try:
        key = load_pem_public_key(read_regular(path, _MAX_KEY))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(
            f"{path} contains no public Ed25519 key in PEM",
            "",
            "Write it from the private key: openssl pkey -in audit.key -pubout -out audit.pub",
        )
    return key


def write_lines(
    entries: Iterable[AuditRecord], now: datetime, key: Ed25519PrivateKey | None
) -> Iterator[bytes]:
    """Yield the lines of an export.

    Args:
        entries: All entries, in their order. A broken chain is exported as it is: the reader shall
            find the broken entry.
        now: The time that the seal states.
        key: The key that signs the seal; None for no signature.
    """
    digest, count, head = hashlib.sha256(), 0, START
    header = _line({"schema": SCHEMA, "start": START})
    # The header is part of what is signed: entries cannot be shown under another schema.
    digest.update(header)
    yield header
    for entry in entries:
        line = _line(entry.as_dict())
        digest.update(line)
        count, head = count + 1, entry.hash
        yield line
    exported_at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    # The last line, so that a file of any length is written and read as a stream.
    seal = {
        "entries": count,
        "head": head,
        "exported_at": exported_at,
        "sha256": digest.hexdigest(),
    }
    signature = key.sign(_signed_content(seal)).hex() if key is not None else None
    yield _line(seal | {"signature": signature})


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=True).encode() + b"\n"


def _signed_content(seal: dict[str, Any]) -> bytes:
    # The schema keeps the signature from being valid for any other statement of this key.
    fields = (SCHEMA, seal["entries"], seal["head"], seal["exported_at"], seal["sha256"])
    return "\n".join(map(str, fields)).encode()


def verify(path: Path, key: Ed25519PublicKey | None) -> VerifiedExport:
    """Verify the chain and the signature of an export.

    Args:
        path: The file. Its content is not trusted.
        key: The public key; None checks the chain alone.

    Raises:
        CertmgrError: The chain is broken (with the first broken entry), the file was changed or
            cut, or the signature is missing or was made by another key.
    """
    with open_regular(path) as file:
        lines = iter(lambda: file.readline(_MAX_LINE), b"")
        digest, count, head = hashlib.sha256(), 0, START
        header = next(lines, b"")
        if _object(header).get("schema") != SCHEMA:
            raise CertmgrError(
                f"{path} is no export of the audit log", "", "Name a file of certmgr audit export."
            )
        digest.update(header)
        for line in lines:
            values = _object(line)
            # The first line without a hash is the seal; an entry after it is found below.
            if "hash" not in values:
                break
            count, head = count + 1, _linked(values, head, count, path)
            digest.update(line)
        else:
            raise _changed(path, f"it ends after {count} entries, without its seal")
        if next(lines, b""):
            raise _changed(path, "it has lines after its seal")
    return _sealed(path, values, (count, head, digest.hexdigest()), key)


def _object(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _linked(values: dict[str, Any], before: str, number: int, path: Path) -> str:
    """Return the hash of an entry that follows the entry with the hash ``before``."""
    at, row_id = values.get("at"), values.get("row_id")
    texts = [values.get(name) for name in ("actor", "action", "kind", "detail")]
    follows = None
    # Other types, such as a list of lists, are not of an entry and could be costly to encode.
    if isinstance(at, int) and isinstance(row_id, int | None) and all(map(_is_text, texts)):
        actor, action, kind, detail = map(str, texts)
        follows = link(before, at, actor, action, kind, row_id, detail)
    if follows is None or values["hash"] != follows:
        entry_id = values.get("id")
        name = entry_id if isinstance(entry_id, int) else f"in line {number + 1}"
        raise CertmgrError(
            f"{path} was changed: entry {name} does not follow the entry before it",
            "",
            "Compare it with the log: certmgr audit verify.",
        )
    return follows


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _sealed(
    path: Path,
    seal: dict[str, Any],
    found: tuple[int, str, str],
    key: Ed25519PublicKey | None,
) -> VerifiedExport:
    # Compared before the signature, so that a cut file is reported as such also without a key.
    if (seal.get("entries"), seal.get("head"), seal.get("sha256")) != found:
        raise _changed(path, "its seal belongs to other entries")
    exported_at, signature = str(seal.get("exported_at")), seal.get("signature")
    # Without a key the chain alone is checked, which a person who can write the file could have
    # rebuilt.
    if key is not None:
        if signature is None:
            raise CertmgrError(
                f"{path} has no signature", "", "Export it again with certmgr audit export --sign."
            )
        try:
            key.verify(bytes.fromhex(str(signature)), _signed_content(seal))
        except (InvalidSignature, ValueError, KeyError):
            raise CertmgrError(
                f"The signature of {path} is not valid",
                "the file was changed, or another key signed it",
                "Compare it with the log: certmgr audit verify.",
            ) from None
    return VerifiedExport(
        found[0], found[1], printable(exported_at, 40), signature is not None, key is not None
    )


def _changed(path: Path, why: str) -> CertmgrError:
    return CertmgrError(
        f"{path} was changed or cut", why, "Compare it with the log: certmgr audit verify."
    )
