"""The process that takes a file apart: one JSON order on standard input, one JSON answer on
standard output. Started by material.py; it opens nothing.
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
    """(what, why, what to do)."""


class Unpacker:
    def __init__(self, password: str) -> None:
        self.password = password
        self.certificates: list[bytes] = []
        self.keys: list[bytes] = []
        self.remarks: set[str] = set()
        self.seen: list[str] = []
        self.read = 0

    def take(self, data: bytes, depth: int = 0) -> None:
        """By content, never by a name."""
        if len(self.certificates) >= MAX_CERTIFICATES:
            raise UnpackError(
                "There are too many certificates in it",
                f"the limit is {MAX_CERTIFICATES}",
                "Send the one certificate with its chain.",
            )
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # a text file of Windows
            data = data.decode("utf-16", "replace").encode("ascii", "replace")
        if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            self._zip(data, depth)
        elif b"-----BEGIN " in data:
            self._pem(data)
        elif data[:1] == b"\x30":
            self._der(data)
        elif text := _bare_base64(data):
            self.take(text, depth)
        else:
            self.seen.append("something that is no certificate")

    def _zip(self, data: bytes, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise UnpackError(
                "The archive has archives in archives",
                f"at most {MAX_DEPTH} deep is read",
                "Send the certificate files alone.",
            )
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                entries = archive.infolist()
                if len(entries) > MAX_ENTRIES:
                    raise UnpackError(
                        "The archive has too many entries",
                        f"{len(entries):,}, the limit is {MAX_ENTRIES:,}",
                        "Send the certificate files alone.",
                    )
                for entry in entries:
                    if not entry.is_dir():
                        self._member(archive, entry, depth)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
            raise UnpackError(
                "The archive cannot be read",
                f"it is damaged ({type(error).__name__})",
                "Ask for it again.",
            ) from None
        except RuntimeError:
            raise UnpackError(
                "The archive is encrypted",
                "certmgr opens none",
                "Unpack it, and hand over the files in it.",
            ) from None

    def _member(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, depth: int) -> None:
        """What an entry says of its size is not believed: the bytes are counted."""
        with archive.open(entry) as file:
            content = file.read(MAX_MEMBER + 1)
        self.read += len(content)
        if len(content) > MAX_MEMBER or self.read > MAX_TOTAL:
            if len(content) > MAX_MEMBER:
                self.seen.append("a file that is too large for a certificate")
            if self.read > MAX_TOTAL:
                raise UnpackError(
                    "The archive holds too much",
                    f"over {MAX_TOTAL // 1024 // 1024} MB of files",
                    "Send the certificate files alone.",
                )
            return
        self.take(content, depth + 1)

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
            found = pkcs7.load_der_pkcs7_certificates(data)
            self.certificates += [c.public_bytes(Encoding.DER) for c in found[:MAX_CERTIFICATES]]
            return
        except PARSE_ERRORS:
            pass
        if self._pkcs12(data):
            return
        try:
            x509.load_der_x509_csr(data)
            self.remarks.add("csr-sent-back")
        except PARSE_ERRORS:
            self.seen.append(
                "a file that looks like DER and is neither certificate, PKCS#7 nor PKCS#12"
            )

    def _pkcs12(self, data: bytes) -> bool:
        if (
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x07" not in data[:64]
        ):  # pkcs-7 data or signedData stands at the beginning of every PFX
            return False
        for secret in dict.fromkeys((self.password.encode(), b"", None)):
            try:
                found = pkcs12.load_pkcs12(data, secret)
            except PARSE_ERRORS:
                continue
            if found.key is not None:
                self._key(found.key)
            inside = ([found.cert] if found.cert is not None else []) + list(found.additional_certs)
            self.certificates += [
                c.certificate.public_bytes(Encoding.DER) for c in inside[:MAX_CERTIFICATES]
            ]
            return True
        why = "the password does not open it" if self.password else "it needs a password"
        raise UnpackError(
            "The PKCS#12 file cannot be opened",
            f"{why}, or it is damaged",
            "Give its password: --password env:NAME or file:PATH.",
        )

    def _key(self, key: Any) -> None:
        self.keys.append(pem(key))
        self.remarks.add("key-sent")


def pem_blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(label, body) of each block that has its end, in linear time: at most so many beginnings are
    looked at, and no body is longer than a file may be.
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
        following = data.find(b"-----BEGIN ", stop, stop + MAX_MEMBER)
        if end >= 0 and not 0 <= following < end:
            position = end
            yield label, data[stop + 5 : end]


def _bare_base64(data: bytes) -> bytes:
    """DER that was pasted without its frame."""
    text = b"".join(data[:200_000].split())
    if not re.fullmatch(rb"MI[A-Za-z0-9+/]{60,}={0,2}", text):
        return b""
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order = json.loads(sys.stdin.read())
    work = Unpacker(order["password"])
    answer: dict[str, Any] = {}
    try:
        for text in order["files"]:
            work.take(base64.b64decode(text))
    except UnpackError as refused:
        answer["error"] = list(refused.args)
    answer |= {
        "certificates": [base64.b64encode(c).decode() for c in work.certificates],
        "keys": [base64.b64encode(k).decode() for k in work.keys],
        "remarks": sorted(work.remarks),
        "seen": "; ".join(dict.fromkeys(work.seen))[:200],
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
