"""The process that unpacks uploaded files.

It reads one JSON request from standard input and writes one JSON answer to standard output.
upload.py starts it. It opens no files.
"""

from __future__ import annotations

import base64
import io
import json
import re
import resource
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    pkcs7,
    pkcs12,
)

from certmgr.x509.key_store import pem
from certmgr.x509.upload import (
    MAX_CERTIFICATES,
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_MEMBER,
    MAX_TOTAL,
    MEMORY,
    SECONDS,
)
from inventory.certificates import PARSE_ERRORS

_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
_PKCS7 = (b"PKCS7", b"PKCS #7 SIGNED DATA", b"CMS")


MAX_BLOCKS = 2000


class UnpackError(Exception):
    """A file cannot be unpacked. Its arguments: what happened, why, and what to do."""


class Unpacker:
    """Collects the certificates and keys of files. Limits apply to all files together."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.certificates: list[bytes] = []
        self.keys: list[bytes] = []
        self.remarks: set[str] = set()
        self.seen: list[str] = []
        self.read = 0

    def add(self, data: bytes, depth: int = 0) -> None:
        """Add a file. Its content decides the format, never its name."""
        if len(self.certificates) >= MAX_CERTIFICATES:
            raise UnpackError(
                "The files have too many certificates",
                f"the limit is {MAX_CERTIFICATES}",
                "Send the one certificate with its chain.",
            )
        # Windows tools save PEM as UTF-16.
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # a UTF-16 text file from Windows
            data = data.decode("utf-16", "replace").encode("ascii", "replace")
        if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            self._zip(data, depth)
        elif b"-----BEGIN " in data:
            self._pem(data)
        elif data[:1] == b"\x30":
            self._der(data)
        elif text := _bare_base64(data):
            self.add(text, depth)
        else:
            self.seen.append("content that is not a certificate")

    def _zip(self, data: bytes, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise UnpackError(
                "The archive has too many nested archives",
                f"the limit is {MAX_DEPTH} levels",
                "Send the certificate files alone.",
            )
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                entries = archive.infolist()
                if len(entries) > MAX_ENTRIES:
                    raise UnpackError(
                        "The archive has too many entries",
                        f"it has {len(entries):,}, the limit is {MAX_ENTRIES:,}",
                        "Send the certificate files alone.",
                    )
                for entry in entries:
                    if not entry.is_dir():
                        self._member(archive, entry, depth)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError):
            raise UnpackError(
                "The archive cannot be read",
                "it is damaged",
                "Request it again.",
            ) from None
        except RuntimeError:
            raise UnpackError(
                "The archive is encrypted",
                "certmgr does not open encrypted archives",
                "Unpack it, and use the files in it.",
            ) from None

    def _member(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, depth: int) -> None:
        """Add one entry of an archive.

        The size in its header is not trusted: the bytes are counted.
        """
        with archive.open(entry) as file:
            content = file.read(MAX_MEMBER + 1)
        self.read += len(content)
        if len(content) > MAX_MEMBER or self.read > MAX_TOTAL:
            if len(content) > MAX_MEMBER:
                self.seen.append("a file that is too large for a certificate")
            if self.read > MAX_TOTAL:
                raise UnpackError(
                    "The archive is too large",
                    f"its files exceed {MAX_TOTAL // 1024 // 1024} MB",
                    "Send the certificate files alone.",
                )
            return
        self.add(content, depth + 1)

    def _pem(self, data: bytes) -> None:
        for label, body in pem_blocks(data):
            if label in _CERTIFICATES or label in _PKCS7:
                try:
                    raw = base64.b64decode(b"".join(body.split()), validate=False)
                except ValueError:
                    self.remarks.add("damaged-part")
                    continue
                self._der(raw)
            elif label.endswith(b"PRIVATE KEY"):
                block = b"-----BEGIN " + label + b"-----" + body + b"-----END " + label + b"-----\n"
                try:
                    secret = self.password.encode() if b"ENCRYPTED" in block else None
                    self._key(load_pem_private_key(block, secret))
                except (ValueError, TypeError):
                    self.remarks.add("key-unreadable")
            # Vendors sometimes return the CSR instead of the certificate.
            elif b"REQUEST" in label:
                self.remarks.add("csr-sent-back")

    def _der(self, data: bytes) -> None:
        try:
            x509.load_der_x509_certificate(data)
            self.certificates.append(data)
            return
        except PARSE_ERRORS:
            pass
        try:
            certificates = pkcs7.load_der_pkcs7_certificates(data)
            self.certificates += [
                c.public_bytes(Encoding.DER) for c in certificates[:MAX_CERTIFICATES]
            ]
            return
        except PARSE_ERRORS:
            pass
        if self._pkcs12(data):
            return
        try:
            x509.load_der_x509_csr(data)
            self.remarks.add("csr-sent-back")
        except PARSE_ERRORS:
            self.seen.append("a DER file that is neither certificate, PKCS#7 nor PKCS#12")

    def _pkcs12(self, data: bytes) -> bool:
        if (
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x07" not in data[:64]
        ):  # every PFX begins with pkcs-7 data or signedData (RFC 7292 4)
            return False
        # Some tools write an empty password, others none; both count as "no password".
        for secret in dict.fromkeys((self.password.encode(), b"", None)):
            try:
                contents = pkcs12.load_pkcs12(data, secret)
            except PARSE_ERRORS:
                continue
            if contents.key is not None:
                self._key(contents.key)
            certificates = ([contents.cert] if contents.cert is not None else []) + list(
                contents.additional_certs
            )
            self.certificates += [
                c.certificate.public_bytes(Encoding.DER) for c in certificates[:MAX_CERTIFICATES]
            ]
            return True
        reason = "the password is wrong" if self.password else "it needs a password"
        raise UnpackError(
            "The PKCS#12 file cannot be opened",
            f"{reason}, or it is damaged",
            "Add its password: --password env:NAME or file:PATH.",
        )

    def _key(self, key: Any) -> None:
        self.keys.append(pem(key))
        self.remarks.add("key-sent")


def pem_blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (label, body) of each complete PEM block in linear time.

    The number of blocks and the length of a body are bounded.
    """
    position = 0
    for _ in range(MAX_BLOCKS):
        start = data.find(b"-----BEGIN ", position)
        if start < 0:
            return
        stop = data.find(b"-----", start + 11, start + 60)
        position = start + 11
        if stop < 0:
            continue
        label = data[start + 11 : stop]
        end = data.find(b"-----END " + label + b"-----", stop, stop + MAX_MEMBER)
        # A BEGIN before the END belongs to the next block: this one is incomplete.
        following = data.find(b"-----BEGIN ", stop, stop + MAX_MEMBER)
        if end >= 0 and not 0 <= following < end:
            position = end
            yield label, data[stop + 5 : end]


def _bare_base64(data: bytes) -> bytes:
    """Return DER data that was pasted as base64 without the PEM header; else b""."""
    text = b"".join(data[:200_000].split())
    # "MI" is the base64 of a DER sequence with a long length.
    if not re.fullmatch(rb"MI[A-Za-z0-9+/]{60,}={0,2}", text):
        return b""
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


def main() -> None:
    """Apply the limits, unpack the files of the request, and write the answer."""
    # The limits apply before the first byte of the input is read.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    request = json.loads(sys.stdin.read())
    unpacker = Unpacker(request["password"])
    answer: dict[str, Any] = {}
    try:
        for text in request["files"]:
            unpacker.add(base64.b64decode(text))
    # The exit code stays 0: the parent distinguishes a refusal from a crash by the answer.
    except UnpackError as refused:
        answer["error"] = list(refused.args)
    answer |= {
        "certificates": [base64.b64encode(c).decode() for c in unpacker.certificates],
        "keys": [base64.b64encode(k).decode() for k in unpacker.keys],
        "remarks": sorted(unpacker.remarks),
        "seen": "; ".join(dict.fromkeys(unpacker.seen))[:200],
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
