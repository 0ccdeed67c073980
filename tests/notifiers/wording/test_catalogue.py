"""The catalogues: every text of the program in every language, with the same placeholders."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from inventory.errors import UsageError
from notifiers.wording import catalogue as catalogue_module
from notifiers.wording.catalogue import FOLDER, available, language, require

ROOT = Path(__file__).parents[3]
PLACEHOLDER = re.compile(r"\{\w+\}")


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogue_tool", ROOT / "tools" / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_english_and_german_are_available() -> None:
    assert available()[:2] == ("en", "de")


@pytest.fixture
def with_french(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A further language, whose catalogue is one file."""
    for file in FOLDER.glob("*.po"):
        shutil.copy(file, tmp_path)
    (tmp_path / "fr.po").write_text(
        'msgid ""\nmsgstr "Language: fr\\nContent-Type: text/plain; charset=utf-8\\n"\n\n'
        'msgid "expired"\nmsgstr "expiré"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(catalogue_module, "FOLDER", tmp_path)
    yield
    catalogue_module._catalogue.cache_clear()


@pytest.mark.usefixtures("with_french")
def test_new_language_is_one_file() -> None:
    assert available() == ("en", "de", "fr")
    assert require("FR") == "fr"
    french = language("fr-CA")
    assert french("expired") == "expiré"
    assert french("not translated yet") == "not translated yet"
    assert french.date(datetime(2026, 11, 29, tzinfo=UTC)) == "29 novembre 2026"
    with pytest.raises(UsageError, match="en, de, fr"):
        require("nl")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.po")), ids=lambda p: p.stem)
def test_every_text_is_translated_with_its_placeholders(path: Path) -> None:
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.stem)
    for message in dict.fromkeys(tool().messages()):
        known = catalogue.get(message)
        assert known is not None, f"{path.name} lacks {message!r}: python tools/catalogue.py"
        originals = message if isinstance(message, tuple) else (message,)
        strings = known.string if isinstance(known.string, tuple) else (known.string,)
        assert all(strings), f"{path.name}: {message!r} is not translated"
        expected = set(PLACEHOLDER.findall(originals[0]))
        for string in strings:
            assert set(PLACEHOLDER.findall(str(string))) == expected, message


def test_every_text_of_a_template_is_in_the_catalogue() -> None:
    known = set(tool().messages())
    with (ROOT / "certmgr" / "report" / "templates" / "report.html").open("rb") as file:
        texts = extract("jinja2.ext:babel_extract", file, keywords={"_": None})
        used = {str(message) for _, message, *_ in texts}
    assert used
    assert used <= known, used - known


def test_dates_are_written_in_the_readers_language_and_time_zone() -> None:
    at = datetime(2026, 12, 24, 23, 30, tzinfo=UTC)
    assert language("en").date(at) == "24 December 2026"
    assert language("de", "Europe/Berlin").date(at) == "25. Dezember 2026"
    assert language("de", "Europe/Berlin").timestamp(at) == "25. Dezember 2026, 00:30 MEZ"


def test_region_falls_back_to_its_language_and_unknown_ones_to_english_and_utc() -> None:
    assert language("de-AT").code == "de"
    assert language("xx").code == "en"
    assert language("en", "Nowhere/Never").zone in (UTC, ZoneInfo("UTC"))


def test_unknown_language_is_refused() -> None:
    assert require("DE") == "de"
    with pytest.raises(UsageError, match="no language"):
        require("klingon")


def test_plural_differs_from_the_singular() -> None:
    german = language("de")
    texts = ("{n} day left", "{n} days left")
    assert german.count(*texts, 1) != german.count(*texts, 2)
