"""Languages: English is the source; another language is a file, locale/CODE.po (gettext, read by
Babel). Dates are written as each language does.
"""

from __future__ import annotations

import gettext
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_time
from babel.messages.pofile import read_po

from inventory.errors import UsageError
from inventory.text import printable

FOLDER = Path(__file__).with_name("locale")


@dataclass(frozen=True, slots=True)
class Language:
    """Call it with an English text to have it in this language; a text that it does not know stays
    English.
    """

    code: str
    texts: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    plurals: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)
    zone: tzinfo = UTC
    plural_form: Callable[[int], int] = field(
        default=lambda n: int(n != 1), repr=False, compare=False
    )

    def __call__(self, text: str) -> str:
        return self.texts.get(text) or text

    def count(self, singular: str, plural: str, number: int) -> str:
        """``{n}`` in the text is the number; the form is chosen as the catalogue's Plural-Forms
        says.
        """
        forms = self.plurals.get(singular)
        index = self.plural_form(number) if forms else int(number != 1)
        return (forms or (singular, plural))[index].replace("{n}", str(number))

    def date(self, moment: datetime) -> str:
        """24 December 2026, 24. Dezember 2026; in the time zone of the reader."""

        return format_date(moment.astimezone(self.zone).date(), "long", locale=self.locale)

    def day(self, moment: datetime, zone: tzinfo) -> str:
        """A day that was set in a given time zone, which is the same day for each reader."""

        return format_date(moment.astimezone(zone).date(), "long", locale=self.locale)

    def instant(self, moment: datetime) -> str:
        return (
            f"{self.date(moment)},"
            f" {format_time(moment, 'HH:mm z', tzinfo=self.zone, locale=self.locale)}"
        )

    def month(self, moment: datetime) -> str:
        return format_date(moment.date(), "MMMM y", locale=self.locale)

    @property
    def locale(self) -> str:
        return "en_GB" if self.code == "en" else self.code


def available() -> tuple[str, ...]:
    return ("en", *sorted(p.stem for p in FOLDER.glob("*.po")))


def language(code: str | None, time_zone: str = "UTC") -> Language:
    """``de-AT`` is written in German; a language without a catalogue in English."""
    base = (code or "en").replace("_", "-").split("-")[0].lower()
    known = _catalogue(base if base in available() else "en")
    try:
        zone: tzinfo = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        zone = UTC
    return Language(known.code, known.texts, known.plurals, zone, known.plural_form)


def require(code: str) -> str:
    """For a language that somebody asked for by name. Raises :class:`UsageError`."""
    if code.lower() not in available():
        raise UsageError(
            f"There is no language '{printable(code, 20)}'", f"known are {', '.join(available())}"
        )
    return code.lower()


@lru_cache(maxsize=8)
def _catalogue(code: str) -> Language:
    if code == "en":
        return Language("en")

    with (FOLDER / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    texts: dict[str, str] = {}
    plurals: dict[str, tuple[str, ...]] = {}
    for message in catalogue:
        if not message.id or message.fuzzy:
            continue
        if isinstance(message.id, (tuple, list)):
            plurals[str(message.id[0])] = tuple(str(s) for s in message.string or ())
        elif isinstance(message.string, str):
            texts[message.id] = message.string
    return Language(code, texts, plurals, plural_form=gettext.c2py(catalogue.plural_expr))


ENGLISH = Language("en")
