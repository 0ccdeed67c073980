"""The process that unpacks uploaded files.

It reads one JSON request from standard input and writes one JSON answer to standard output.
upload.py starts it. It opens no files.
"""

from __future__ import annotations

import base64
import json
import resource
import sys
import warnings
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    pkcs7,
    pkcs12,
)

from certmgr.x509.archives import UnpackError, archive_members
from certmgr.x509.containers import WINDOWS_STORE, has_revocation_lists, key_count, store_elements
from certmgr.x509.key_store import pem
from certmgr.x509.pem_text import (
    MAX_BLOCKS,
    as_bytes_of_text,
    bare_base64,
    block_kind,
    decode_body,
    der_around_pem,
    file_kind,
    pem_blocks,
    with_plain_armour,
)
from certmgr.x509.private_keys import load_der, load_pem
from certmgr.x509.text_forms import mail_parts, other_forms
from certmgr.x509.upload import (
    MAX_CERTIFICATES,
    MAX_DEPTH,
    MAX_MEMBER,
    MAX_TOTAL,
    MEMORY,
)
from inventory import der
from inventory.certificate_fields import PARSE_ERRORS
from inventory.sandbox import confine
from inventory.text import printable

# The list is shown to a person, and an archive may have a thousand other files.
MAX_IGNORED = 50
MAX_VALUES = 2000  # values that follow each other in one file
_BEGIN = b"-----BEGIN "


class Unpacker:
    """Collects the certificates and keys of files. Limits apply to all files together."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.certificates: list[bytes] = []
        self.keys: list[bytes] = []
        self.remarks: set[str] = set()
        self.ignored: list[str] = []
        self.read = 0
        self._source = ""

    def add(self, data: bytes, depth: int = 0, source: str = "") -> None:
        """Add a file. Its content decides the format, never its name.

        Args:
            source: What the list of ignored parts calls the file.
        """
        if source:
            self._source = source
        data = as_bytes_of_text(data)
        # The content decides: vendors and mail programs rename files, and so do attackers.
        if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            self._zip(data, depth)
        elif data[:8] == WINDOWS_STORE:
            self._windows_store(data)
        elif depth < MAX_DEPTH and (parts := mail_parts(data)):
            self._mail(parts, depth)
        elif _BEGIN in (text := with_plain_armour(data)):
            self._text(text, data)
            for part in der_around_pem(data):
                self._der(part, "DER data next to the PEM blocks that cannot be read")
        elif data[:1] == b"\x30" and not data[:40].isascii():
            self._der(data)
        elif decoded := bare_base64(data):
            self._der(decoded)
        elif not data.strip():
            self._ignore("an empty file")
        elif kind := file_kind(data):
            self._ignore(kind)
        elif not self._other_forms(data):
            self._ignore("content that is not a certificate")

    def _mail(self, parts: list[tuple[str, bytes]], depth: int) -> None:
        """Add the parts of a mail that was saved as a file."""
        before = len(self.certificates)
        for name, content in parts:
            if name:
                self.add(content, depth + 1, printable(name, 80))
        # If the mail has a file, its text is a greeting. Otherwise the certificate stands in it.
        for name, content in parts:
            if not name and len(self.certificates) == before:
                self.add(content, depth + 1, "the text of the mail")

    def _text(self, text: bytes, sent: bytes) -> None:
        """Add the PEM blocks of a text. If some are damaged, try what else it may be as sent."""
        remarks, ignored = set(self.remarks), list(self.ignored)
        self._pem(text)
        damaged = "damaged-part" in self.remarks - remarks
        if damaged or not (self.certificates or self.keys or self.ignored != ignored):
            plain = self.remarks, self.ignored
            self.remarks, self.ignored = remarks, ignored
            if not self._other_forms(sent):
                self.remarks, self.ignored = plain

    def _other_forms(self, data: bytes) -> bool:
        """Add the certificates of a text that a mail, form, page or editor changed.

        Returns:
            Whether there were certificates or keys that are not known yet.
        """
        for form in other_forms(data):
            attempt = Unpacker(self.password)
            for value in form:
                if _BEGIN in value:
                    attempt._pem(value)
                else:
                    attempt._der(value)
            certificates = [c for c in attempt.certificates if c not in self.certificates]
            keys = [k for k in dict.fromkeys(attempt.keys) if k not in self.keys]
            if certificates or keys:
                self._take(certificates)
                self.keys += keys
                # A guessed form counts by what could be parsed, and its garbage is not listed.
                self.remarks |= attempt.remarks - {"damaged-part"}
                return True
        return False

    def _windows_store(self, data: bytes) -> None:
        """Add the certificates of a serialized store (.sst), which certmgr.msc exports."""
        for value, other in store_elements(data):
            if other:
                self._ignore(other)
            elif value is None:
                self._damaged("a Windows store without its end")
            else:
                self._der(value, "a certificate of a Windows store that cannot be read")

    def _ignore(self, what: str) -> None:
        """List a part that is not used; nothing is dropped silently."""
        text = f"{self._source}: {what}" if self._source else what
        if text not in self.ignored and len(self.ignored) < MAX_IGNORED:
            self.ignored.append(text)

    def _take(self, certificates: list[bytes]) -> None:
        self.certificates += certificates
        if len(set(self.certificates)) > MAX_CERTIFICATES:
            raise UnpackError(
                "The files have too many certificates",
                f"the limit is {MAX_CERTIFICATES}",
                "Send the one certificate with its chain.",
            )

    def _zip(self, data: bytes, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise UnpackError(
                "The archive has too many nested archives",
                f"the limit is {MAX_DEPTH} levels",
                "Send the certificate files alone.",
            )
        for filename, content in archive_members(data):
            name = printable(filename, 80)
            self.read += len(content)
            if len(content) > MAX_MEMBER:
                self._source = name
                self._ignore("a file that is too large for a certificate")
            if self.read > MAX_TOTAL:
                raise UnpackError(
                    "The archive is too large",
                    f"its files exceed {MAX_TOTAL // 1024 // 1024} MB",
                    "Send the certificate files alone.",
                )
            if len(content) <= MAX_MEMBER:
                self.add(content, depth + 1, name)

    def _pem(self, data: bytes) -> None:
        if data.count(b"-----BEGIN ") > MAX_BLOCKS:
            self._ignore(f"the blocks behind the first {MAX_BLOCKS:,}")
        for label, body in pem_blocks(data):
            name = printable(label.decode("ascii", "replace"), 40)
            if label.endswith(b"PRIVATE KEY"):
                self._pem_key(label, body)
            elif kind := block_kind(label):
                self._ignore(kind)
            # Vendors sometimes return the CSR instead of the certificate.
            elif b"REQUEST" in label:
                self._csr_sent_back()
            elif body is None:
                self._damaged(f"a block {name} without its end")
            # The label is not trusted: PKCS#7 and PKCS#12 come as CERTIFICATE, CMS and others.
            elif (raw := decode_body(body)) is None:
                self._damaged(f"a block {name} that is not base64")
            else:
                self._der(raw, f"a block {name} that cannot be read")

    def _damaged(self, what: str) -> None:
        self.remarks.add("damaged-part")
        self._ignore(what)

    def _csr_sent_back(self) -> None:
        self.remarks.add("csr-sent-back")
        self._ignore("a CSR")

    def _pem_key(self, label: bytes, body: bytes | None) -> None:
        block = b"-----BEGIN %b-----%b-----END %b-----\n" % (label, body or b"", label)
        try:
            secret = self.password.encode() if b"ENCRYPTED" in block else None
            self._key(load_pem(block, secret))
        except (*PARSE_ERRORS, UnsupportedAlgorithm):
            self.remarks.add("key-unreadable")
            self._ignore("a private key that cannot be read")

    def _der(self, data: bytes, otherwise: str = "") -> None:
        """Add the values that follow each other in ``data``.

        OpenSSL appends trust settings to a certificate (TRUSTED CERTIFICATE); a file may hold
        several certificates.
        """
        values: list[bytes] = []
        rest = False
        try:
            # Windows and Java write PKCS#7 in BER, whose outer length can be indefinite.
            if data[:2] == b"\x30\x80":
                values.append(data)
            else:
                for element in der.elements(data):
                    values.append(element.encoded)
        except ValueError:
            # Such as a line end behind the last value.
            rest = bool(values) and bool(data[sum(map(len, values)) :].strip(b"\0\r\n\t "))
        found = [v for v in values[:MAX_VALUES] if self._value(v)]
        if not found:
            self.remarks |= {"damaged-part"} if otherwise else set()
            self._ignore(otherwise or "a DER file that is neither certificate, PKCS#7 nor PKCS#12")
        # The second value of a trusted certificate is a list of purposes.
        elif rest or len(found) < len(values):
            self._ignore("data behind a certificate, such as trust settings of OpenSSL")

    def _value(self, data: bytes) -> bool:
        """Add one value, and return whether its format is known."""
        try:
            x509.load_der_x509_certificate(data)
            self._take([data])
            return True
        except PARSE_ERRORS:
            pass
        try:
            certificates = pkcs7.load_der_pkcs7_certificates(data)
            if not certificates:
                self._ignore("PKCS#7 without certificates")
            self._take([c.public_bytes(Encoding.DER) for c in certificates])
            if has_revocation_lists(data):
                self._ignore("a revocation list")
            return True
        except PARSE_ERRORS:
            pass
        if self._pkcs12(data):
            return True
        # The frequent formats were tried before; each failed attempt costs a parse of the whole
        # value.
        for load, use in (
            (x509.load_der_x509_csr, self._csr_sent_back),
            (load_der, None),
            (x509.load_der_x509_crl, lambda: self._ignore("a revocation list")),
        ):
            try:
                loaded: Any = load(data)
            except PARSE_ERRORS:
                continue
            if use is None:
                self._key(loaded)
            else:
                use()
            return True
        return False

    def _pkcs12(self, data: bytes) -> bool:
        # A PFX begins with version 3, and PKCS#7 with an object identifier (RFC 7292 4).
        if b"\x02\x01\x03" not in data[:9]:
            return False
        # Some tools write an empty password, others none; both count as "no password".
        for secret in dict.fromkeys((self.password.encode(), b"", None)):
            try:
                with warnings.catch_warnings():
                    # Old Java writes BER, of which the library warns.
                    warnings.simplefilter("ignore", UserWarning)
                    contents = pkcs12.load_pkcs12(data, secret)
            except PARSE_ERRORS:
                continue
            if contents.key is not None:
                self._key(contents.key)
            if (keys := key_count(data)) > 1:
                self._ignore(f"all but the first of {keys} private keys in a PKCS#12 file")
            certificates = ([contents.cert] if contents.cert is not None else []) + list(
                contents.additional_certs
            )
            self._take([c.certificate.public_bytes(Encoding.DER) for c in certificates])
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


def main() -> None:
    """Apply the limits, unpack the files of the request, and write the answer."""
    # The limits apply before the first byte of the input is read.
    confine(MEMORY)
    seconds = int(sys.argv[1])
    # The first limit sends SIGXCPU, by which the parent knows the reason; the second one kills.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    request = json.loads(sys.stdin.read())
    unpacker = Unpacker(request["password"])
    answer: dict[str, Any] = {}
    try:
        several = len(request["files"]) > 1
        for number, text in enumerate(request["files"], 1):
            unpacker.add(base64.b64decode(text), 0, f"file {number}" if several else "")
    # The exit code stays 0: the parent distinguishes a refusal from a crash by the answer.
    except UnpackError as refused:
        answer["error"] = list(refused.args)
    answer |= {
        "certificates": [base64.b64encode(c).decode() for c in unpacker.certificates],
        "keys": [base64.b64encode(k).decode() for k in unpacker.keys],
        "remarks": sorted(unpacker.remarks),
        "ignored": unpacker.ignored,
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
