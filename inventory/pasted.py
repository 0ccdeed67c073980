"""Text that a person copied from a mail, a web page, a word processor or a spreadsheet. Pure."""

from __future__ import annotations

import re

# What no reader sees: blanks of all kinds, joiners, marks of direction, the byte order mark.
INVISIBLE = (
    " \t\r\n\f\v\u00a0\u00ad\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e"
    "\u202f\u205f\u2060\u2066\u2067\u2068\u2069\u3000\ufeff"
)
# Those of them that separate words.
_BLANKS = re.compile("[\t\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_JOINERS = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
# Straight and typographic quotation marks, and backticks of chats and documentation.
QUOTES = "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a"
_DASHES = re.compile("[\u2010-\u2015\u2212]")
# "- ", "• ", "1. " and "2) " of a list.
_LIST_MARK = re.compile(
    r"\s*(?:[-*+\u2022\u00b7\u2023\u25aa\u25cf\u25e6\u2013\u2014]|\d{1,5}[.)])\s+"
)


def plain(text: str) -> str:
    """Return a text with simple blanks and hyphens, and without what no reader sees."""
    return _DASHES.sub("-", _JOINERS.sub("", _BLANKS.sub(" ", text)))


def bare(text: str) -> str:
    """Return a text without blanks, invisible characters and quotation marks around it."""
    return text.strip(INVISIBLE + QUOTES)


def without_list_mark(line: str) -> str:
    """Return a line without the sign or number that it has in a list."""
    return _LIST_MARK.sub("", line, count=1) if _LIST_MARK.match(line) else line
