"""A finding code is one entry: everything else finds what it declares."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import cast

import pytest

from certmgr.checks.transport import finding
from inventory.finding_codes import (
    CODES,
    FindingCode,
    FindingText,
    Layer,
    Responsible,
    Visitor,
    layer_of,
)
from inventory.targets import Target
from inventory.vocabulary import Severity
from notifiers.wording.sentences import instruction, sentence
from tests.program import Ran

ROOT = Path(__file__).parents[3]


@pytest.fixture
def gopher_code(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = FindingCode(
        severity=Severity.MEDIUM,
        role=Responsible.HOST,
        layer=Layer.TRANSPORT,
        visitor=Visitor.UNKNOWN,
        text=FindingText("no gopher", "{host} serves no gopher.", "Start it at {addresses}."),
    )
    monkeypatch.setitem(cast("MutableMapping[str, FindingCode]", CODES), "gopher-missing", entry)


@pytest.mark.usefixtures("gopher_code")
def test_new_code_has_its_severity_texts_explanation_and_documentation(
    certmgr: Callable[..., Ran],
) -> None:
    found = finding("gopher-missing", ("192.0.2.1",))
    assert found.severity == Severity.MEDIUM
    assert layer_of("gopher-missing") is Layer.TRANSPORT
    target = Target("shop.example.com")
    assert sentence(found, target) == "shop.example.com serves no gopher."
    assert instruction(found, target) == "Start it at 192.0.2.1."
    assert "gopher-missing" in certmgr("explain", "gopher-missing").out
    assert "gopher-missing" in certmgr("explain").out
    spec = importlib.util.spec_from_file_location("document", ROOT / "tools" / "document.py")
    assert spec is not None and spec.loader is not None
    document = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(document)
    row = "| gopher-missing | medium | host | {host} serves no gopher. | Start it at {addresses}. |"
    assert row in document.findings()
