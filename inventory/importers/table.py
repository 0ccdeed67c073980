"""Tables as spreadsheets and billing programs write them: CSV and tab-separated text. Pure.

Excel writes "Unicode Text" as UTF-16 with tabs, ``sep=;`` as the first line, blank lines, and empty
columns at the end.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular
from inventory.text import unguard_cell

# Limits against files that are not CSV, such as a binary file without line breaks.
MAX_HEADER = 65_536
MAX_FIELD = 65_536
MAX_FILE = 256 * 1024 * 1024
DELIMITERS = (",", ";", "\t", "|")


def read_source(path: Path, limit: int = MAX_FILE) -> bytes:
    """Return the content of a file that a user named.

    Raises:
        UsageError: It is not a regular file (a pipe or a device may never end), or it is too large.
    """
    try:
        data = read_regular(path, limit)
    except CertmgrError as error:
        raise UsageError(error.what, error.why, error.todo) from None
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit >> 20} MB", "", "Split it.")
    return data


def decode(data: bytes) -> str:
    """Return text in UTF-8, UTF-16, or else Windows-1252, which Excel writes."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    # UTF-16 without a byte order mark: every second byte of ASCII text is zero.
    for encoding, zeros in (("utf-16-le", data[1:40:2]), ("utf-16-be", data[0:40:2])):
        if len(data) >= 8 and zeros.count(0) == len(zeros):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


class Table:
    """A table with a header.

    Attributes:
        header: The column names as they are written.
        delimiter: The delimiter of the cells.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        # The limit of the csv module is global, and its default is larger.
        csv.field_size_limit(MAX_FIELD)
        self._lines = decode(data).splitlines(keepends=True)
        self._first, forced = 0, ""
        # Blank lines, and lines of delimiters only, may stand before the header.
        while self._first < len(self._lines):
            line = self._lines[self._first].strip()
            if line.lower().startswith("sep=") and len(line) == 5:
                forced = line[4]
            elif line.lower() == "sep=":
                forced = "\t"
            elif line.strip(',;|\t "'):
                break
            self._first += 1
        line = self._lines[self._first] if self._first < len(self._lines) else ""
        if len(line) > MAX_HEADER:
            raise UsageError(
                f"{path}:{self._first + 1} is too long for a header",
                f"over {MAX_HEADER:,} characters",
                "The first line names the columns.",
            )
        self.delimiter = forced or max(DELIMITERS, key=line.count)
        cells = next(csv.reader([line], delimiter=self.delimiter), [])
        self.header = [c.strip() for c in cells]
        while self.header and not self.header[-1]:
            self.header.pop()

    @property
    def line(self) -> int:
        """The line of the header."""
        return self._first + 1

    def rows(self) -> Iterator[tuple[str, list[str] | str]]:
        """Yield (file and line, cells) per row that is not empty; for a bad row, the reason."""
        reader = csv.reader(self._lines[self._first + 1 :], delimiter=self.delimiter)
        while True:
            where = f"{self.path}:{self._first + 2 + reader.line_num}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield where, f"not CSV: {error}"
                continue
            # Spreadsheets often write empty rows, and empty columns at the end.
            if not any(c.strip() for c in cells):
                continue
            while len(cells) > len(self.header) and not cells[-1].strip():
                cells.pop()
            # An unquoted delimiter in a text shifts the cells, so the row is not imported.
            if len(cells) > len(self.header):
                count = len(self.header)
                yield where, f"{len(cells):,} cells, and the header has {count} columns"
                continue
            yield where, [unguard_cell(c.strip()) for c in cells]
