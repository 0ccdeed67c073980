"""The encoding of a text file that does not state it. Pure.

UTF-8 and UTF-16 are certain. Older programs write one of the code pages below, and any bytes are
valid in most of them, so that the choice is a guess: by the letters that result, and by the
top-level domains in the file, which a customer list always has. Callers show the guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from inventory.text import printable

# Enough for the letters of a list; the rest is decoded alike.
_SAMPLE = 200_000
_MAX_LETTERS = 5_000


@dataclass(frozen=True, slots=True)
class DecodedText:
    """A text with its encoding.

    Attributes:
        text: The text.
        encoding: The name of the encoding, as Python knows it.
        guessed: Whether the bytes do not prove it.
    """

    text: str
    encoding: str
    guessed: bool = False

    def examples(self, count: int = 5) -> tuple[str, ...]:
        """Return the first words with a letter outside of ASCII, which show a wrong guess."""
        words = re.findall(r"[^\W\d_]+", self.text[:_SAMPLE])
        return tuple(dict.fromkeys(w for w in words if not w.isascii()))[:count]

    @property
    def remark(self) -> str:
        """The guess with words by which a reader can check it; empty if nothing was guessed."""
        examples = printable(", ".join(self.examples()), 200)
        if not self.guessed or not examples:
            return ""
        return (
            f"The file is not UTF-8 and is read as {self.encoding}: {examples}. If these words are"
            " wrong: --encoding NAME, or save it as UTF-8."
        )


# The letters that are common in the languages of a code page. A rare one counts less: the same
# byte is a common letter of another language.
_COMMON: Mapping[str, str] = {
    "cp1252": "äöüßéèêëàâáåæøñçóòôíìîïúùûãõþðý",
    "cp1250": "ąćęłńóśźżáčďéěíňřšťúůýžľäöüßőűăâîşţđç",
    "cp1251": "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ",
    "cp1253": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώ",
    "cp1254": "çğıöşüâîé",
    "mac_roman": "äöüßéèêëàâáåæøñçóòôíìîïúùûãõ",
    "cp850": "äöüßéèêëàâáåæøñçóòôíìîïúùû",
}
# The top-level domains of countries whose programs write a code page.
_COUNTRIES = {
    "cp1250": ("cz", "sk", "pl", "hu", "ro", "hr", "si", "rs", "ba", "al"),
    "cp1251": ("ru", "ua", "by", "bg", "mk", "kz", "su"),
    "cp1253": ("gr", "cy"),
    "cp1254": ("tr", "az"),
}


def decode_text(data: bytes, encoding: str = "") -> DecodedText:
    """Return the text of a file.

    Args:
        data: Its bytes.
        encoding: The encoding that the user named; empty to find it. It does not replace a byte
            order mark, which is certain.

    Raises:
        LookupError: Python knows no such encoding.
    """
    if data[:4] in (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"):
        return DecodedText(data.decode("utf-32", "replace"), "utf-32")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return DecodedText(data.decode("utf-16", "replace"), "utf-16")
    if encoding:
        return DecodedText(data.removeprefix(b"\xef\xbb\xbf").decode(encoding, "replace"), encoding)
    # UTF-16 without a byte order mark: most of every second byte of a European text are zero.
    for name, zeros in (("utf-16-le", data[1:400:2]), ("utf-16-be", data[0:400:2])):
        if len(data) >= 8 and zeros.count(0) > len(zeros) * 0.7:
            return DecodedText(data.decode(name, "replace"), name)
    try:
        return DecodedText(data.decode("utf-8-sig"), "utf-8")
    except UnicodeDecodeError:
        # An editor may have put UTF-8's mark in front of a file in another encoding.
        bare = data.removeprefix(b"\xef\xbb\xbf")
    # Parts of lists in different encodings are often joined. Bytes that are nearly all UTF-8 are.
    broken = bare.decode("utf-8", "replace")
    if broken.count("\ufffd") * 10 < sum(c > "\x7f" for c in broken):
        return DecodedText(broken, "utf-8", guessed=True)
    name = _guess(bare[:_SAMPLE])
    return DecodedText(bare.decode(name, "replace"), name, guessed=True)


def _guess(sample: bytes) -> str:
    """Return the code page with the most plausible text; Windows-1252 if several are equal."""
    ascii_text = sample.decode("ascii", "ignore").lower()
    suffixes = re.findall(r"[a-z0-9-]\.([a-z]{2})\b", ascii_text)
    scores = {}
    for name in _COMMON:
        countries = _COUNTRIES.get(name, ())
        local = sum(s in countries for s in suffixes)
        # Domains of a country speak for its code page as much as its letters do, and those of
        # other countries against it.
        share = local / len(suffixes) if suffixes else 0.0
        prior = 0.7 if countries and suffixes and not local else 1.0 + share
        score = _plausibility(sample.decode(name, "replace"), _COMMON[name])
        scores[name] = score * prior if score > 0 else score
    # The first one wins a tie: Excel writes Windows-1252 in most countries.
    return max(_COMMON, key=lambda name: scores[name])


def _plausibility(text: str, common: str) -> float:
    score = 0.0
    letters = re.finditer(r"[^\x00-\x7f]", text)
    for match in islice(letters, _MAX_LETTERS):
        char, at = match[0], match.start()
        before, after = text[max(at - 1, 0) : at], text[at + 1 : at + 2]
        inside = before.isalpha() and after.isalpha()
        if char == "\ufffd":
            score -= 3
        elif not char.isalpha():
            # Quotation marks and dashes stand between words, and no symbol stands in one.
            score -= 2 if inside else 0.2
        elif char.lower() not in common:
            score -= 0.5
        elif _is_foreign(before, char, after):
            score -= 1
        else:
            score += 1
    return score


def _is_foreign(before: str, char: str, after: str) -> bool:
    """Return whether a letter does not belong between its neighbours."""
    # A capital in a word, before a small letter, is a letter of another code page.
    if char.isupper() and before.isalpha() and after.islower():
        return True
    # No word has letters of two scripts.
    if char > "\u0370":
        return any("a" <= c.lower() <= "z" for c in (before, after))
    # Words in Latin letters have no three in a row that are outside of ASCII.
    return all(c.isalpha() and c > "\x7f" for c in (before, after))
