"""The process that reads vendor files is bounded, gets no secret, and runs no foreign code."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.x509 import upload
from certmgr.x509.upload import MAX_TOTAL, read_files, unpack
from inventory.certificates import parse
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular
from tests.certmgr.x509.test_unpacking import file_sets, p12, zipped


@pytest.fixture(scope="module")
def issued(issuer: Authority) -> IssuedCertificate:
    return issuer.issue("shop.example.com", "www.shop.example.com", days=60)


def test_certificates_keys_and_remarks_come_back_from_the_process(
    issued: IssuedCertificate,
) -> None:
    """Files of all formats at once; test_unpacking.py has each format."""
    result = unpack([data for files in file_sets(issued).values() for data in files], "pw")
    expected = {parse(c.public_bytes(Encoding.DER)).sha256 for c in issued.chain}
    assert {c.sha256 for c in result.certificates} == expected
    assert result.keys == (issued.key_pem, issued.key_pem)
    assert result.remarks == ("key-sent",)


def test_refusal_comes_back_from_the_process_with_its_reason(issued: IssuedCertificate) -> None:
    with pytest.raises(UsageError, match="the password is wrong"):
        unpack([p12(issued)], "wrong")
    with pytest.raises(UsageError, match="no certificate"):
        unpack([b"", b"hello", b"%PDF-1.7"])


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "nothing"])
def test_path_that_is_not_a_regular_file_is_not_read(tmp_path: Path, kind: str) -> None:
    """A pipe or a device may never end."""
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    if kind == "folder":
        path.mkdir()
    if kind == "device":
        path = Path("/dev/zero")
    with pytest.raises(CertmgrError, match="cannot be read"):
        read_files([str(path)])
    with pytest.raises(CertmgrError, match="cannot be read"):
        read_regular(path, 10)


def test_file_is_read_to_one_byte_beyond_the_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a" * 100)
    assert len(read_regular(tmp_path / "x", 10)) == 11


def test_nothing_is_written_at_the_paths_in_an_archive(
    issued: IssuedCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unpack(file_sets(issued)["path traversal"])
    assert list(tmp_path.rglob("*")) == []


def test_code_in_the_current_folder_is_not_run(
    issued: IssuedCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of downloads may hold a base64.py, which the process would import."""
    for name in ("base64", "zipfile", "json", "cryptography", "inventory"):
        code = "open('ran', 'w').close()\nraise SystemExit(9)\n"
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    assert len(unpack([issued.chain_pem]).certificates) == 2
    assert not (tmp_path / "ran").exists()


def test_process_gets_no_secret(issued: IssuedCertificate, monkeypatch: pytest.MonkeyPatch) -> None:
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


def overlapping() -> bytes:
    """Return an archive of 10 GB: a member of 64 MB with 160 entries in the directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.crt", b"\0" * (64 << 20))
        archive.filelist += archive.filelist * 159
    return buffer.getvalue()


def understating() -> bytes:
    """Return an archive with an entry that inflates to more than its header states."""
    data = bytearray(zipped({"a.crt": b"\0" * 50_000_000}))
    size = (50_000_000).to_bytes(4, "little")
    position = 0
    while (position := data.find(size, position)) >= 0:
        data[position : position + 4] = (100).to_bytes(4, "little")
    return bytes(data)


_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")


def repeated(content: bytes, count: int) -> bytes:
    """Return an archive with this many members of equal content.

    The module zipfile would compress each of them, which takes seconds.
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(content) + deflate.flush()
    sizes = (zlib.crc32(content), len(packed), len(content))
    files, directory = bytearray(), bytearray()
    for number in range(count):
        name, at = b"%d" % number, len(files)
        files += _LOCAL.pack(b"PK\3\4", 20, 0, 8, 0, 33, *sizes, len(name), 0) + name + packed
        head = (b"PK\1\2", 20, 20, 0, 8, 0, 33, *sizes, len(name), 0, 0, 0, 0, 0, at)
        directory += _CENTRAL.pack(*head) + name
    entries = min(count, 0xFFFF)
    end = _END.pack(b"PK\5\6", 0, 0, entries, entries, len(directory), len(files), 0)
    return bytes(files + directory + end)


def test_archive_of_many_gigabytes_is_read_up_to_the_limit() -> None:
    """The bytes are counted as they are read; the size in the archive is not trusted."""
    data = repeated(b"\0" * (64 << 20), 60)  # of 4 GB
    assert len(data) < upload.MAX_INPUT
    with pytest.raises(UsageError, match=f"its files exceed {MAX_TOTAL >> 20} MB"):
        unpack([data])


def test_archive_of_overlapping_members_is_refused() -> None:
    """Newer versions of Python report the overlap, older ones read up to the limit."""
    with pytest.raises(UsageError, match=f"its files exceed {MAX_TOTAL >> 20} MB|it is damaged"):
        unpack([overlapping()])


def test_entry_that_is_larger_than_its_header_says_is_refused() -> None:
    with pytest.raises(UsageError, match="it is damaged"):
        unpack([understating()])


def test_archive_of_100000_entries_is_refused() -> None:
    data = repeated(b"", 100_000)
    assert len(data) > upload.MAX_INPUT
    with pytest.raises(UsageError, match="too large"):
        unpack([data])


def test_files_beyond_the_limit_are_refused() -> None:
    with pytest.raises(UsageError, match="too large"):
        unpack([b"\0" * (9 * 1024 * 1024)])


def test_pkcs12_with_two_billion_rounds_is_ended_at_the_time_limit(
    issued: IssuedCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rounds of its MAC are raised by hand to the most that four bytes hold."""
    monkeypatch.setattr(upload, "SECONDS", 2)
    data = p12(issued)
    # The rounds are an INTEGER of two bytes at the end of MacData, 2048 or 20000 and the like.
    at = data.rfind(b"\x02\x02")
    assert at > 0
    grown = data[:at] + b"\x02\x04\x7f\xff\xff\xff" + data[at + 4 :]
    with pytest.raises(UsageError, match="could not be read in time"):
        unpack([_lengthened(grown, 2)], "pw")


def _lengthened(data: bytes, more: int) -> bytes:
    """Make the outer SEQUENCE and the MacData at its end longer by ``more`` bytes."""
    out = bytearray(data)
    outer = int.from_bytes(out[2:4], "big") + more
    out[2:4] = outer.to_bytes(2, "big")
    # MacData is the last element of a PFX: SEQUENCE { DigestInfo, salt, iterations }.
    for at in range(len(out) - 3, 4, -1):
        if out[at] == 0x30 and at + 2 + out[at + 1] + more == len(out):
            out[at + 1] += more
            break
    return bytes(out)
