"""Findings as text: fixed sentences of a language, filled with printable evidence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from inventory.finding_codes import CODES, ISSUER_UNKNOWN, FindingCode, FindingText
from inventory.names import display
from inventory.targets import Target
from inventory.text import printable
from inventory.vocabulary import Finding
from notifiers.wording.catalogue import ENGLISH, Language
from notifiers.wording.values import VALUES

_MAX_ADDRESSES = 4


def _value(value: Any, language: Language) -> str:
    if isinstance(value, Mapping):
        return "; ".join(
            f"{_value(k, language)}: {_value(v, language)}" for k, v in list(value.items())[:6]
        )
    # A list of a hundred names would hide the sentence around it.
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_value(v, language) for v in value[:4])
        return (
            f"{shown} {language('and {n} more').replace('{n}', str(len(value) - 4))}"
            if len(value) > 4
            else shown
        )
    text = str(value)
    # A timestamp is shown as its date; the evidence keeps the time.
    if len(text) >= 19 and text[4:5] == "-" and text[10:11] == "T":
        return _date(text, language)
    # Text of a server may contain control characters.
    return printable(language(text) if text in VALUES else text, 160)


def _date(text: str, language: Language) -> str:
    if language is ENGLISH:
        return text[:10]
    try:
        return language.date(datetime.fromisoformat(text))
    except ValueError:
        return text[:10]


class _Parameters(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def parameters(
    finding: Finding, target: Target, language: Language = ENGLISH, host: str = ""
) -> Mapping[str, str]:
    """Return the values for the placeholders. Unknown placeholders are empty.

    Args:
        host: What stands for the name. Empty for the name of the target.
    """
    addresses = list(finding.addresses)
    values = _Parameters({k: _value(v, language) for k, v in finding.evidence.items()})
    # The time of our clock is part of the finding, so it is shown in full.
    if clock := finding.evidence.get("our_clock"):
        values["our_clock"] = f"{str(clock)[:19].replace('T', ' ')} UTC"
    values["host"] = host or display(target.host)
    values["port"] = str(target.port)
    shown = ", ".join(addresses[:_MAX_ADDRESSES])
    more = len(addresses) - _MAX_ADDRESSES
    further = language("and {n} more").replace("{n}", str(more))
    values["addresses"] = (f"{shown} {further}" if more > 0 else shown) or display(target.host)
    if not values.get("names"):
        values["names"] = language("none")
    return values


def _filled(
    template: str, finding: Finding, target: Target, language: Language, host: str = ""
) -> str:
    values = parameters(finding, target, language, host)
    return " ".join(language(template).format_map(values).split())


def _code_of(finding: Finding) -> FindingCode:
    """Return the properties of the code of a finding.

    A database that a newer version used may have codes that this version does not know. Those are
    shown as not checked.
    """
    return CODES.get(finding.code) or CODES["scanner-error"]


def _variant_of(finding: Finding) -> str:
    if finding.code == "chain-incomplete" and finding.evidence.get("held") is False:
        return ISSUER_UNKNOWN
    return str(finding.evidence.get("variant"))


def _text_of(finding: Finding) -> FindingText:
    code = _code_of(finding)
    return code.variants.get(_variant_of(finding), code.text)


def short(finding: Finding, target: Target, language: Language = ENGLISH) -> str:
    """Return what is wrong, in a few words."""
    return _filled(_text_of(finding).short, finding, target, language)


def sentence(
    finding: Finding, target: Target, language: Language = ENGLISH, *, host: str = ""
) -> str:
    """Return one plain sentence for a client.

    Args:
        host: What stands for the name, if the sentence is about several.
    """
    return _filled(_text_of(finding).sentence, finding, target, language, host)


def client_instruction(
    finding: Finding,
    target: Target,
    language: Language = ENGLISH,
    *,
    we_install: bool,
    host: str = "",
) -> str:
    """Return what the client has to do.

    If we install, the client buys or renews the certificate and sends it to us.

    Args:
        host: What stands for the name, if the instruction is about several.
    """
    # The general instruction would ask the client to change our server.
    code, variant = _code_of(finding), _variant_of(finding)
    usual = "" if variant in code.variants else code.client
    if we_install and (template := code.client_variants.get(variant, usual)):
        return _filled(template, finding, target, language, host)
    return instruction(finding, target, language, host=host)


def instruction(
    finding: Finding, target: Target, language: Language = ENGLISH, *, host: str = ""
) -> str:
    """Return the exact instruction for the person who acts."""
    return _filled(_text_of(finding).instruction, finding, target, language, host)
