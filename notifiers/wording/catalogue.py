"""Languages of the texts. English is the source; others are files (locale/CODE.po, gettext).

Dates are formatted in the style of each language.
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

from inventory.dates import in_zone
from inventory.errors import UsageError
from inventory.text import printable

FOLDER = Path(__file__).with_name("locale")


@dataclass(frozen=True, slots=True)
class Language:
    """A language with its translations.

    Call it with an English text to translate that. A text without a translation stays English.
    """

    code: str
    texts: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    plurals: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)
    zone: tzinfo = UTC
    plural_form: Callable[[int], int] = field(
        default=lambda n: int(n != 1), repr=False, compare=False
    )

    def __call__(self, text: str) -> str:
        # An untranslated text is shown in English: a message in two languages is better than none.
        return self.texts.get(text) or text

    def count(self, singular: str, plural: str, number: int) -> str:
        """Return the text in singular or plural, with ``{n}`` replaced by the number.

        The catalogue's Plural-Forms header selects the form.
        """
        forms = self.plurals.get(singular)
        # English has no catalogue, so its plural rule applies.
        index = self.plural_form(number) if forms else int(number != 1)
        return (forms or (singular, plural))[index].replace("{n}", str(number))

    def date(self, at: datetime) -> str:
        """Return a date such as 24 December 2026, in the time zone of the reader."""
        return format_date(in_zone(at, self.zone).date(), "long", locale=self.locale)

    def day(self, at: datetime, zone: tzinfo) -> str:
        """Return a date in a given time zone, so that it is the same for each reader."""
        return format_date(in_zone(at, zone).date(), "long", locale=self.locale)

    def timestamp(self, at: datetime) -> str:
        """Return date and time in the time zone of the reader."""
        # At the ends of the calendar it is the time in UTC.
        local = in_zone(at, self.zone)
        zone = UTC if local is at else self.zone
        return f"{self.date(at)}, {format_time(local, 'HH:mm z', tzinfo=zone, locale=self.locale)}"

    def month(self, at: datetime) -> str:
        """Return month and year."""
        return format_date(at.date(), "MMMM y", locale=self.locale)

    @property
    def locale(self) -> str:
        """The locale for dates. British English writes the day before the month."""
        return "en_GB" if self.code == "en" else self.code


def available() -> tuple[str, ...]:
    """Return the codes of all languages. English is the first."""
    return ("en", *sorted(p.stem for p in FOLDER.glob("*.po")))


def language(code: str | None, time_zone: str = "UTC") -> Language:
    """Return the language of a code, in a time zone.

    A region falls back to its language (``de-AT`` to German), and an unknown language to English.
    """
    # Clients are imported from systems that write de_DE, de-AT or DE.
    base = (code or "en").replace("_", "-").split("-")[0].lower()
    # A missing catalogue must not stop a message.
    known = _catalogue(base if base in available() else "en")
    try:
        zone: tzinfo = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        zone = UTC
    return Language(known.code, known.texts, known.plurals, zone, known.plural_form)


def require(code: str) -> str:
    """Return the code of an available language.

    Raises:
        UsageError: There is no such language.
    """
    if code.lower() not in available():
        raise UsageError(
            f"There is no language '{printable(code, 20)}'",
            "it has no catalogue",
            f"Use one of {', '.join(available())}.",
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
        # A fuzzy translation was made for an earlier text and may be wrong.
        if not message.id or message.fuzzy:
            continue
        if isinstance(message.id, (tuple, list)):
            plurals[str(message.id[0])] = tuple(str(s) for s in message.string or ())
        elif isinstance(message.string, str):
            texts[message.id] = message.string
    return Language(code, texts, plurals, plural_form=gettext.c2py(catalogue.plural_expr))


ENGLISH = Language("en")
