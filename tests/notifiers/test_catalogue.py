"""The catalogues: every text of the program in every language, with the same placeholders, and every text of a template known."""

from __future__ import annotations

import importlib.util
import re
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from inventory.errors import UsageError
from inventory.model import Finding
from inventory.targets import Target
from notifiers.wording.catalogue import FOLDER, available, language, require
from notifiers.wording.english import FINDINGS
from notifiers.wording.scope import for_client
from notifiers.wording.sentences import instruction, sentence, short

ROOT = Path(__file__).parents[2]
PLACEHOLDER = re.compile(r"\{\w+\}")


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogue_tool", ROOT / "tools" / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_german_is_there() -> None:
    assert available()[:2] == ("en", "de")


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
        for string in strings:
            assert set(PLACEHOLDER.findall(str(string))) == set(PLACEHOLDER.findall(originals[0])), message


def test_every_text_of_a_template_is_in_the_catalogue() -> None:
    known = set(tool().messages())
    with (ROOT / "certmgr" / "report" / "templates" / "report.html").open("rb") as file:
        used = {str(message) for _, message, *_ in extract("jinja2.ext:babel_extract", file, keywords={"_": None})}
    assert used
    assert used <= known, used - known


@pytest.mark.parametrize("code", FINDINGS)
def test_every_finding_can_be_said_in_german(code: str) -> None:
    finding = Finding(code, "high", ("192.0.2.1",), {"not_after": "2026-12-24T10:00:00+00:00", "names": ["a.test"]})
    german = language("de", "Europe/Berlin")
    for say in (short, sentence, instruction):
        text = say(finding, Target("shop.example.test"), german)
        assert text
        assert "{" not in text
        assert text != say(finding, Target("shop.example.test")) or code == "not-tls", code


def test_dates_as_each_language_writes_them_in_the_readers_time_zone() -> None:
    moment = datetime(2026, 12, 24, 23, 30, tzinfo=UTC)
    assert language("en").date(moment) == "24 December 2026"
    assert language("de", "Europe/Berlin").date(moment) == "25. Dezember 2026"
    assert language("de", "Europe/Berlin").instant(moment) == "25. Dezember 2026, 00:30 MEZ"
    assert language("de-AT").code == "de"
    assert language("xx").code == "en"
    assert language("en", "Nowhere/Never").zone == UTC or language("en", "Nowhere/Never").zone == ZoneInfo("UTC")


def test_a_language_by_name_must_be_there() -> None:
    assert require("DE") == "de"
    with pytest.raises(UsageError, match="no language"):
        require("klingon")


def test_plurals() -> None:
    german = language("de")
    assert german.count("{n} day left", "{n} days left", 1) != german.count("{n} day left", "{n} days left", 2)


def test_names_of_others_in_a_shared_certificate_go_out() -> None:
    finding = Finding("name-mismatch", "critical", (), {"names": ["www.mine.test", "secret.other.test"], "more": 1})
    assert for_client(finding, {"shop.mine.test"}).evidence["names"] == ["www.mine.test"]
    assert for_client(finding, {"third.example"}).evidence["names"] == ["none of yours"]
    assert "other.test" not in sentence(for_client(finding, {"shop.mine.test"}), Target("shop.mine.test"))
    default = Finding("default-certificate", "critical", (), {"subject": "CN=secret.other.test", "names": ["secret.other.test"]})
    assert "secret" not in str(for_client(default, {"shop.mine.test"}).evidence)
