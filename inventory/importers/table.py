"""Tables as spreadsheets and billing programs write them: CSV and tab-separated text. Pure.

Excel writes "Unicode Text" as UTF-16 with tabs, ``sep=;`` as the first line, blank lines, and empty
columns at the end.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular
from inventory.importers.encodings import decode_text
from inventory.pasted import INVISIBLE
from inventory.text import printable, unguard_cell

# Limits against files that are not CSV, such as a binary file without line breaks.
MAX_HEADER = 65_536
MAX_FIELD = 65_536
MAX_FILE = 256 * 1024 * 1024
DELIMITERS = (",", ";", "\t", "|")
MAX_TITLE = 20  # lines before the header
# What files begin with that a spreadsheet program opens as a table, and that are no text.
_WORKBOOKS = {
    b"PK\x03\x04": "a workbook of Excel or LibreOffice",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel",
    b"%PDF": "a PDF document",
    b"{\\rt": "an RTF document",
    b"<htm": "an HTML page",
    b"<!do": "an HTML page",
    b"<tab": "an HTML page",
    b"<?xm": "an XML document",
}
_END = "\uffff end of the file"  # a character that no file in an encoding of text has
# What a spreadsheet shows instead of a value that it cannot compute, in English and German.
_ERROR = re.compile(
    r"#(?:N/A|NV|N/D|REF!|BEZUG!|NAME\?|VALUE!|WERT!|DIV/0!|NULL!|NUM!|ZAHL!|SPILL!|ÜBERLAUF!)"
)
_TEXT_NUMBER = re.compile(r"'\d[\d ./-]*")
_TEXT_FORMULA = re.compile(r'="((?:[^"]|"")*)"')


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
    """Return the text of a file whose encoding is certain or guessed (``encodings.py``)."""
    return decode_text(data).text


class Table:
    """A table with a header.

    Attributes:
        header: The column names as they are written.
        delimiter: The delimiter of the cells.
        decoded: The text, with its encoding.
    """

    def __init__(
        self,
        path: Path,
        data: bytes,
        is_header: Callable[[Sequence[str]], bool] | None = None,
        encoding: str = "",
    ) -> None:
        """Find the header.

        Args:
            path: The file.
            data: Its content.
            is_header: Whether a line names the columns. Spreadsheets often have a title, or a row
                of merged cells, before that line.
            encoding: The encoding that the user named; empty to find it.

        Raises:
            UsageError: It is not a table, or there is no such encoding.
        """
        self.path = path
        _refuse_workbook(path, data)
        # The limit of the csv module is global, and its default is larger.
        csv.field_size_limit(MAX_FIELD)
        # Programs that convert a file may add a second byte order mark.
        try:
            self.decoded = decode_text(data, encoding)
        except LookupError:
            raise UsageError(
                f"'{printable(encoding, 40)}' is not an encoding",
                "",
                "Examples: utf-8, windows-1250, windows-1251, windows-1252, macroman, cp850.",
            ) from None
        self._lines = self.decoded.text.lstrip("\ufeff").splitlines(keepends=True)
        self._first, forced = 0, ""
        # Blank lines, and lines of delimiters only, may stand before the header.
        while self._first < len(self._lines):
            line = self._lines[self._first].strip().strip('"')
            if line.lower().startswith("sep=") and len(line) == 5:
                forced = line[4]
            elif line.lower() == "sep=":
                forced = "\t"
            elif line.strip(',;|\t "'):
                break
            self._first += 1
        self._forced = forced
        if is_header is not None and not is_header(self._cells(self._first)):
            later = range(self._first + 1, self._first + MAX_TITLE)
            self._first = next((n for n in later if is_header(self._cells(n))), self._first)
        if is_header is not None:
            self._first = self._lowest_header(is_header)
        line = self._lines[self._first] if self._first < len(self._lines) else ""
        if len(line) > MAX_HEADER:
            raise UsageError(
                f"{path}:{self._first + 1} is too long for a header",
                f"over {MAX_HEADER:,} characters",
                "The first line names the columns.",
            )
        self.delimiter = self._delimiter(line)
        self.header = self._cells(self._first)
        while self.header and not self.header[-1]:
            self.header.pop()

    def _lowest_header(self, is_header: Callable[[Sequence[str]], bool]) -> int:
        """Return the line of the header below merged cells, which may name columns as well."""
        found, named = self._first, _filled(self._cells(self._first))
        for number in range(self._first + 1, self._first + 3):
            cells = self._cells(number)
            if _filled(cells) > named and is_header(cells):
                found, named = number, _filled(cells)
        return found

    def _delimiter(self, line: str) -> str:
        return self._forced or max(DELIMITERS, key=line.count)

    def _cells(self, number: int) -> list[str]:
        """Return the cells of a line; an empty list behind the end or for a very long line."""
        line = self._lines[number] if number < len(self._lines) else ""
        if len(line) > MAX_HEADER:
            return []
        cells = next(csv.reader([line], delimiter=self._delimiter(line)), [])
        return [_trimmed(c) for c in cells]

    @property
    def line(self) -> int:
        """The line of the header."""
        return self._first + 1

    def rows(self) -> Iterator[tuple[str, list[str] | str]]:
        """Yield (file and line, cells) per row that is not empty; for a bad row, the reason."""
        # A quote that is not closed takes the rest of the file into one cell, and with it this end.
        lines = [*self._lines[self._first + 1 :], "\n", f"{_END}\n"]
        reader = csv.reader(lines, delimiter=self.delimiter)
        while True:
            where = f"{self.path}:{self._first + 2 + reader.line_num}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield where, f"not CSV: {error}"
                continue
            if cells == [_END]:
                return
            if any(_END in c for c in cells):
                yield where, "a quote is not closed: nothing behind it was read"
                return
            cells = [_trimmed(c) for c in cells]
            # Spreadsheets often write empty rows, and empty columns at the end. Lists that were
            # joined have the header again.
            if not any(cells) or cells[: len(self.header)] == self.header:
                continue
            while len(cells) > len(self.header) and not cells[-1]:
                cells.pop()
            # An unquoted delimiter in a text shifts the cells, so the row is not imported.
            if len(cells) > len(self.header):
                count = len(self.header)
                yield where, f"{len(cells):,} cells, and the header has {count} columns"
                continue
            if formula := next((c for c in cells if _is_formula(c)), ""):
                shown = printable(formula, 60)
                yield where, f"a cell has the formula '{shown}' instead of its value"
                continue
            if wrong := next((c for c in cells if _ERROR.fullmatch(c)), ""):
                yield where, f"a cell has the error {wrong} of the spreadsheet instead of its value"
                continue
            yield where, [unguard_cell(_unwrapped(c)) for c in cells]


def _refuse_workbook(path: Path, data: bytes) -> None:
    begin = data[:200].lstrip()[:4]
    kind = _WORKBOOKS.get(begin) or _WORKBOOKS.get(begin.lower())
    if kind is not None:
        raise UsageError(
            f"{path} is not CSV",
            f"it is {kind}",
            "Open it in the spreadsheet program, and save it as CSV.",
        )


def _filled(cells: Sequence[str]) -> int:
    return sum(1 for c in cells if c)


def _trimmed(cell: str) -> str:
    """Return a cell without blanks and invisible characters at its ends."""
    return cell.strip(INVISIBLE)


def _unwrapped(cell: str) -> str:
    """Return the text of a cell that is written as ``="0012"`` or ``'0012`` to stay a text."""
    match = _TEXT_FORMULA.fullmatch(cell)
    # The apostrophe that makes a number a text in a spreadsheet, as some programs export it.
    if _TEXT_NUMBER.fullmatch(cell):
        return cell[1:]
    return match[1].replace('""', '"') if match is not None else cell


def _is_formula(cell: str) -> bool:
    return cell.startswith("=") and _TEXT_FORMULA.fullmatch(cell) is None
