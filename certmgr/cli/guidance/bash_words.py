"""The words of a command line of bash, and what bash inserts for a completion.

bash splits COMP_WORDS at the characters of COMP_WORDBREAKS, such as ``:`` and ``=``, and replaces
only the text after the last one. It inserts a completion as it is, so it must be quoted here.
"""

from __future__ import annotations

from dataclasses import dataclass

_BLANK = " \t\n"
# In double quotes a backslash keeps its meaning before these only (bash(1), QUOTING).
_ESCAPED_IN_DOUBLE_QUOTES = '$`"\\'
# These never change the meaning of a word, wherever they stand.
_PLAIN = frozenset("%+,-./:=@_^")


@dataclass(frozen=True, slots=True)
class BashLine:
    """A command line up to the cursor.

    Attributes:
        words: The words without their quotes; the last one is incomplete.
        quote: The quotation mark that is open at the cursor, or "".
        kept: How many characters of the last word bash does not replace.
    """

    words: tuple[str, ...]
    quote: str
    kept: int

    def insertion(self, value: str) -> str:
        """Return the text that bash inserts for a value, quoted for its place on the line."""
        text = value[self.kept :]
        match self.quote:
            case "'":
                return text.replace("'", "'\\''")
            case '"':
                text = "".join("\\" + c if c in _ESCAPED_IN_DOUBLE_QUOTES else c for c in text)
                # The history is expanded in double quotes too, and a backslash there would stay.
                return text.replace("!", '"\\!"')
            case _:
                return "".join(c if c.isalnum() or c in _PLAIN else "\\" + c for c in text)


def parse(line: str, breaks: str) -> BashLine:
    """Split a command line, whose last quote may be open.

    Args:
        line: The line from its command to the cursor.
        breaks: The value of COMP_WORDBREAKS.
    """
    words, word, quote, kept = list[str](), "", "", 0
    escaped = begun = False
    for character in line:
        if escaped:
            if quote and character not in _ESCAPED_IN_DOUBLE_QUOTES:
                word += "\\"
            word, escaped = word + character, False
        elif character == "\\" and quote != "'":
            escaped = begun = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word += character
        elif character in "'\"":
            # bash replaces what follows the open quotation mark.
            quote, begun, kept = character, True, len(word)
        elif character in _BLANK:
            if begun:
                words.append(word)
            word, begun, kept = "", False, 0
        else:
            word, begun = word + character, True
            if character in breaks:
                kept = len(word)
    return BashLine((*words, word), quote, kept)
