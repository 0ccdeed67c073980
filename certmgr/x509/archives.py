"""Reading of an uploaded ZIP archive, whose sizes and names are not trusted."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator

from certmgr.x509.upload import MAX_ENTRIES, MAX_MEMBER

# What zipfile raises for damaged archives.
_DAMAGED = (
    zipfile.BadZipFile,
    NotImplementedError,
    EOFError,
    ValueError,
    IndexError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)


class UnpackError(Exception):
    """A file cannot be unpacked. Its arguments: what happened, why, and what to do."""


def archive_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file of an archive.

    The size in the header of an entry is not trusted. Of a file with more than ``MAX_MEMBER``
    bytes, the first ``MAX_MEMBER + 1`` are returned.

    Raises:
        UnpackError: The archive is damaged or encrypted, or has too many entries.
    """
    with _open_archive(data) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            raise UnpackError(
                "The archive has too many entries",
                f"it has {len(entries):,}, the limit is {MAX_ENTRIES:,}",
                "Send the certificate files alone.",
            )
        for entry in entries:
            # is_dir of Python 3.11 fails for an empty name.
            if not entry.filename:
                raise _damaged()
            if not entry.is_dir():
                yield entry.filename, _content(archive, entry)


def _open_archive(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGED:
        raise _damaged() from None


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(entry) as file:
            return file.read(MAX_MEMBER + 1)
    # Before RuntimeError, since NotImplementedError is one.
    except _DAMAGED:
        raise _damaged() from None
    except RuntimeError:
        raise UnpackError(
            "The archive is encrypted",
            "certmgr does not open encrypted archives",
            "Unpack it, and use the files in it.",
        ) from None


def _damaged() -> UnpackError:
    return UnpackError("The archive cannot be read", "it is damaged", "Request it again.")
