"""Text that came from outside, made safe for a sink.

Certificates, server answers and imported rows are hostile.
"""

import unicodedata

_STRIPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, limit: int = 300) -> str:
    """``text`` for a terminal or a log: control, format and line-separator characters become ``?``,
    and it is cut at ``limit``.

    ESC, CR LF, NUL and U+202E survive x509 name formatting, so every value from outside passes here
    before it is shown.
    """
    shown = text[:limit]
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join("?" if unicodedata.category(c) in _STRIPPED else c for c in shown)
    return shown + "..." if len(text) > limit else shown


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def guard_cell(value: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula: an apostrophe before ``= + - @`` tab, CR
    (and before an apostrophe).
    """
    return "'" + value if value.startswith(_FORMULA_STARTS) else value


def unguard_cell(value: str) -> str:
    """The inverse of :func:`guard_cell`, for cells that it wrote."""
    if value.startswith("'") and value[1:].startswith(_FORMULA_STARTS):
        return value[1:]
    return value
