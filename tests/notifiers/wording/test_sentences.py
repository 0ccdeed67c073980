"""Findings in words."""

from __future__ import annotations

import pytest

from inventory.finding_codes import CODES
from inventory.targets import Target
from inventory.vocabulary import Finding
from notifiers.wording.catalogue import language
from notifiers.wording.sentences import instruction, sentence, short


@pytest.mark.parametrize("code", CODES)
def test_every_finding_has_german_sentences(code: str) -> None:
    evidence = {"not_after": "2026-12-24T10:00:00+00:00", "names": ["a.test"]}
    finding = Finding(code, "high", ("192.0.2.1",), evidence)
    german = language("de", "Europe/Berlin")
    target = Target("shop.example.test")
    for render in (short, sentence, instruction):
        text = render(finding, target, german)
        assert text
        assert "{" not in text
        assert text != render(finding, target) or code == "not-tls", code
