"""What comes back from vendors, in every form, and what is made to do harm."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from certmgr.cases.material import MAX_ENTRIES, unpack
from certmgr.demo.authority import Authority, Issued
from inventory.certificates import parse
from inventory.errors import UsageError


@pytest.fixture(scope="module")
def issued(issuer: Authority) -> Issued:
    return issuer.issue("shop.example.com", "www.shop.example.com", days=60)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def p12(issued: Issued, password: str = "pw") -> bytes:
    how: Any = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return serialize_key_and_certificates(b"x", issued.key, issued.certificate, issued.chain[1:], how)


def forms(issued: Issued) -> dict[str, list[bytes]]:
    pem, der = issued.chain_pem, [c.public_bytes(Encoding.DER) for c in issued.chain]
    leaf, issuer = (c.public_bytes(Encoding.PEM) for c in issued.chain)
    return {
        "PEM": [pem], "PEM, issuer first": [issuer + leaf], "two files": [issuer, leaf], "garbage between": [b"\0\xff Dear client,\r\n" + leaf + b"\n-----BEGIN JUNK\n" + issuer + b"bye"],
        "Windows line ends": [pem.replace(b"\n", b"\r\n")], "DER": der, "PKCS#7 in DER": [serialize_certificates(list(issued.chain), Encoding.DER)],
        "PKCS#7 in PEM": [serialize_certificates(list(issued.chain), Encoding.PEM)], "PKCS#12": [p12(issued)], "PKCS#12 without a password": [p12(issued, "")],
        "zip": [zipped({"a/leaf.crt": leaf, "a/ca-bundle.crt": issuer, "readme.pdf": b"%PDF", "empty": b""})],
        "zip in zip": [zipped({"inner.zip": zipped({"x.p7b": serialize_certificates(list(issued.chain), Encoding.DER)})})],
        "bare base64": [b"".join(leaf.splitlines()[1:-1]), issuer], "names that climb": [zipped({"../../etc/passwd": leaf, "/etc/shadow": issuer, "..\\x": b""})],
    }  # fmt: skip


FORMS = (
    "PEM", "PEM, issuer first", "two files", "garbage between", "Windows line ends", "DER", "PKCS#7 in DER", "PKCS#7 in PEM", "PKCS#12", "PKCS#12 without a password",
    "zip", "zip in zip", "bare base64", "names that climb",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_taken_apart(issued: Issued, form: str) -> None:
    found = unpack(forms(issued)[form], "pw")
    assert {c.sha256 for c in found.certificates} == {parse(c.public_bytes(Encoding.DER)).sha256 for c in issued.chain}
    assert ("key-sent" in found.remarks) == form.startswith("PKCS#12")
    assert bool(found.keys) == form.startswith("PKCS#12")


def test_nothing_is_written_where_an_archive_says(issued: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unpack(forms(issued)["names that climb"])
    assert list(tmp_path.rglob("*")) == []


def test_a_wrong_password_is_said(issued: Issued) -> None:
    with pytest.raises(UsageError, match="the password does not open it"):
        unpack([p12(issued)], "wrong")
    with pytest.raises(UsageError, match="it needs a password"):
        unpack([p12(issued)])


def test_keys_are_recognised_and_reported(issued: Issued) -> None:
    found = unpack([issued.chain_pem + issued.key_pem])
    assert found.remarks == ("key-sent",)
    encrypted = issued.key.private_bytes(Encoding.PEM, _pkcs8(), BestAvailableEncryption(b"other"))
    assert unpack([issued.chain_pem + encrypted], "pw").remarks == ("key-unreadable",)


def _pkcs8() -> Any:
    from cryptography.hazmat.primitives.serialization import PrivateFormat

    return PrivateFormat.PKCS8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x30\x82\xff\xff" + b"\0" * 100,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"%PDF-1.7",
        b"\x30" * 1000,
    ],
)
def test_what_holds_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="no certificate"):
        unpack([data])


def bomb() -> bytes:
    """10 GB: one member that inflates to 64 MB, named 160 times in the directory of the archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.crt", b"\0" * (64 << 20))
        archive.filelist += archive.filelist * 159
    return buffer.getvalue()


def lying(issued: Issued) -> bytes:
    """An entry whose header says that it is small, and that inflates to much."""
    data = bytearray(zipped({"a.crt": b"\0" * 50_000_000}))
    size = (50_000_000).to_bytes(4, "little")
    position = 0
    while (position := data.find(size, position)) >= 0:
        data[position : position + 4] = (100).to_bytes(4, "little")
    return bytes(data)


def many() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for number in range(100_000):
            archive.writestr(zipfile.ZipInfo(str(number)), b"")
    return buffer.getvalue()


def test_an_archive_of_many_gigabytes_is_read_within_bounds(issued: Issued) -> None:
    before = time.monotonic()
    with pytest.raises(UsageError):
        unpack([bomb()])
    with pytest.raises(UsageError):
        unpack([lying(issued)])
    assert time.monotonic() - before < 40


def test_an_archive_of_100000_entries_is_refused() -> None:
    data = many()
    if len(data) > 8 * 1024 * 1024:
        with pytest.raises(UsageError, match="too large"):
            unpack([data])
    with pytest.raises(UsageError, match="too many entries"):
        unpack([zipped({str(n): b"" for n in range(MAX_ENTRIES + 1)})])


def test_archives_in_archives_end(issued: Issued) -> None:
    data = issued.chain_pem
    for _ in range(6):
        data = zipped({"x.zip": data})
    with pytest.raises(UsageError, match="archives in archives"):
        unpack([data])


def test_a_damaged_or_encrypted_archive_is_said(issued: Issued) -> None:
    data = zipped({"a.crt": issued.chain_pem})
    with pytest.raises(UsageError, match="damaged"):
        unpack([data[: len(data) // 2]])
    secret = bytearray(zipped({"a.crt": issued.chain_pem}))
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        at = secret.find(mark)
        secret[at + (6 if mark == b"PK\x03\x04" else 8)] |= 1
    with pytest.raises(UsageError, match="encrypted"):
        unpack([bytes(secret)])


def test_a_pkcs12_that_asks_for_two_billion_rounds_ends_in_time(issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rounds of its MAC, raised by hand to the most that four bytes hold."""
    from certmgr.cases import material

    monkeypatch.setattr(material, "SECONDS", 5)
    data = p12(issued)
    # INTEGER of two bytes at the end of MacData (2048 or 20000 rounds and the like) becomes one of the same length; where it is short, its key derivation is.
    rounds = bytearray(data)
    tail = rounds.rfind(b"\x02\x02")
    assert tail > 0
    grown = rounds[:tail] + b"\x02\x04\x7f\xff\xff\xff" + rounds[tail + 4 :]
    fixed = _relength(bytes(grown), 2)
    before = time.monotonic()
    with pytest.raises(UsageError, match=r"in time|cannot be opened|no certificate"):
        unpack([fixed], "pw")
    assert time.monotonic() - before < 15


def _relength(data: bytes, more: int) -> bytes:
    """The outer SEQUENCE, and the MacData at its end, made longer by ``more`` bytes."""
    out = bytearray(data)
    outer = int.from_bytes(out[2:4], "big") + more
    out[2:4] = outer.to_bytes(2, "big")
    # MacData is the last element of the PFX: SEQUENCE { DigestInfo, salt, iterations }.
    for at in range(len(out) - 3, 4, -1):
        if out[at] == 0x30 and at + 2 + out[at + 1] + more == len(out):
            out[at + 1] += more
            break
    return bytes(out)


def test_too_large_is_said() -> None:
    with pytest.raises(UsageError, match="too large"):
        unpack([b"\0" * (9 * 1024 * 1024)])


def test_the_reading_process_gets_no_secret_of_ours(issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setenv("CERTMGR_MAIL", "mailtos://user:hunter2@x")
    seen: list[dict[str, str]] = []
    real = subprocess.run

    def spy(*arguments: Any, **given: Any) -> Any:
        seen.append(given["env"])
        assert "hunter2" not in " ".join(arguments[0])
        return real(*arguments, **given)

    monkeypatch.setattr(subprocess, "run", spy)
    unpack([issued.chain_pem], "hunter2")
    assert set(seen[0]) == {"PATH", "PYTHONPATH"}
