"""Lists of serial numbers, as CAs send them and spreadsheets export them. Pure."""

from __future__ import annotations

import re

from inventory import pasted
from inventory.errors import UsageError
from inventory.text import printable

# A CA may have to revoke very many certificates at once. The limit bounds time and memory.
MAX_SERIALS = 100_000
# RFC 5280, 4.1.2.2: a serial number has at most 20 octets.
_SERIAL = re.compile(r"[0-9a-f]{1,40}")
# Digits of 56 bits: a serial number of 64 random bits rarely has fewer.
_LONG = 14
_LABEL = re.compile(r"(?i)^serial(?:[ _-]?(?:number|no\.?|nr\.?))?\s*[:=]\s*")
_HEADER = re.compile(
    r"(?i)^(?:.*[,;\t])?[\"' ]*serial(?:[ _-]?(?:number|no\.?|nr\.?))?[\"' ]*(?:[,;\t]|$)"
)


def read_serials(text: str) -> tuple[list[str], list[str]]:
    """Parse a list of serial numbers, one per line, as CAs send it and spreadsheets export it.

    Colons, blanks, a 0x prefix, a label, comments and further CSV columns are accepted. Of several
    columns that could be a serial number, the longest counts, since public CAs have 64 bits and
    more (Baseline Requirements 7.1), unless the first column is one of those.

    Returns:
        The serial numbers in lower-case hexadecimal without leading zeros, and the invalid lines.

    Raises:
        UsageError: The list is too long.
    """
    serials: dict[str, None] = {}
    invalid = []
    for number, line in enumerate(text.splitlines(), 1):
        row = pasted.bare(pasted.without_list_mark(pasted.plain(line.partition("#")[0])))
        # Blank lines, comments and the header of a CSV file contain no serial number.
        if not row or (number == 1 and _HEADER.match(row)):
            continue
        if serial := _serial_in(row):
            serials[serial] = None
        else:
            invalid.append(f"line {number}: '{printable(row, 60)}'")
        if len(serials) > MAX_SERIALS:
            raise UsageError(
                "There are too many serial numbers",
                f"the limit is {MAX_SERIALS:,}",
                "Split the file.",
            )
    return list(serials), invalid


def _serial_in(line: str) -> str:
    """Return the serial number of a line in lower case without leading zeros; empty without one."""
    first, others = "", []
    # Pairs of digits with blanks between them are one number, other words are columns.
    for column, cell in enumerate(re.split(r"[,;|\t]", _LABEL.sub("", line))):
        words = cell.split()
        parts = ["".join(words)] if all(len(w) == 2 for w in words) else words
        for place, part in enumerate(parts):
            digits = re.sub(r"[:-]", "", pasted.bare(part.lstrip("="))).lower().removeprefix("0x")
            # DER adds a zero octet if the first bit is set, and lists differ in whether they show
            # it.
            serial = digits.lstrip("0")
            if not _SERIAL.fullmatch(serial):
                continue
            if column == place == 0:
                first = serial
            elif len(serial) >= _LONG:
                others.append(serial)
    return first if len(first) >= _LONG or not others else max(others, key=len)
