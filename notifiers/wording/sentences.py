"""Findings in words: parameters from the evidence, made printable, put into the fixed sentences of a language. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inventory.model import Finding
from inventory.names import display
from inventory.targets import Target
from inventory.text import printable
from notifiers.wording import english

_MAX_ADDRESSES = 4


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{_value(k)}: {_value(v)}" for k, v in list(value.items())[:6])
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_value(v) for v in value[:4])
        return f"{shown} and {len(value) - 4} more" if len(value) > 4 else shown
    text = str(value)
    # An instant reads as its date; the time stands in the evidence.
    if len(text) >= 19 and text[4:5] == "-" and text[10:11] == "T":
        return text[:10]
    return printable(text, 160)


class _Parameters(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def parameters(finding: Finding, target: Target) -> Mapping[str, str]:
    addresses = list(finding.addresses)
    values = _Parameters({k: _value(v) for k, v in finding.evidence.items()})
    values["host"] = display(target.host)
    values["port"] = str(target.port)
    shown = ", ".join(addresses[:_MAX_ADDRESSES])
    more = len(addresses) - _MAX_ADDRESSES
    values["addresses"] = (f"{shown} and {more} more" if more > 0 else shown) or display(target.host)
    if not values.get("names"):
        values["names"] = "none"
    return values


def short(finding: Finding, target: Target) -> str:
    """What is wrong, in a few words."""
    return english.FINDINGS[finding.code].short.format_map(parameters(finding, target))


def sentence(finding: Finding, target: Target) -> str:
    """One plain sentence for a client."""
    return english.FINDINGS[finding.code].sentence.format_map(parameters(finding, target))


def instruction(finding: Finding, target: Target) -> str:
    """Exactly what whoever acts has to do."""
    return english.FINDINGS[finding.code].instruction.format_map(parameters(finding, target))
