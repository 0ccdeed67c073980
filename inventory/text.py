"""Escaping of text from outside before it is written to a terminal, a log or a CSV file.

Texts of certificates, servers and imported files may be hostile.
"""

import re
import unicodedata

# Unicode categories: control, format, surrogate, private, unassigned, line and paragraph.
_STRIPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, limit: int = 300) -> str:
    """Return the text for a terminal or a log, cut at ``limit`` characters.

    Control, format and line-separator characters become ``?``. ESC, CR LF, NUL and U+202E pass
    through the formatting of X.509 names, so each value from outside must pass this function before
    it is displayed.
    """
    shown = text[:limit]
    # Most texts are plain ASCII and need no replacement.
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join("?" if unicodedata.category(c) in _STRIPPED else c for c in shown)
    return shown + "..." if len(text) > limit else shown


# Where a spreadsheet may see the begin of a formula: at the begin of a cell, and behind what it may
# take for the end of one. Spreadsheets of many countries separate cells by semicolons or tabs, and
# quotation marks do not protect there: a cell that begins behind a comma does not begin with one.
_BLANKS = r"""(?:[^\S\t\r\n]|")*"""
_SIGNS = r"=+\-@'\uff1d\uff0b\uff0d\uff20"
_FIRST, _LATER = rf"(?={_BLANKS}[\t\r\n{_SIGNS}])", rf"(?={_BLANKS}[{_SIGNS}])"
_FORMULA = re.compile(rf"\A{_FIRST}|(?<=[;\t\r\n]){_LATER}")
_GUARDED = re.compile(rf"\A'{_FIRST}|(?<=[;\t\r\n])'{_LATER}")


def typed_reference(text: str) -> str:
    """Return a typed reference of a ticket, case or incident as it is stored.

    It is typed from a letter, repeated on the telephone, or pasted from the subject of a mail,
    where it stands in square brackets, or from the end of a sentence.
    """
    return text.strip(" \t\r\n[].,;:").upper()


def guard_cell(value: str) -> str:
    """Return a CSV cell that spreadsheets do not read as a formula, whatever separates their cells.

    An apostrophe is added before ``= + - @``, tab and line breaks at the begin, also behind blanks
    and quotation marks, and before ``= + - @`` behind a semicolon, a tab or a line break. It is
    also added before an apostrophe there, so that :func:`unguard_cell` can restore the value.
    """
    # Spreadsheets execute such a cell when the file is opened (CSV injection, CWE-1236).
    return _FORMULA.sub("'", value)


def unguard_cell(value: str) -> str:
    """Return the value of a cell that :func:`guard_cell` wrote."""
    # A cell that an administrator typed may start with an apostrophe of its text.
    return _GUARDED.sub("", value)
