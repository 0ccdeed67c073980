"""Tests of ``certmgr purchase list`` and ``show``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest

from tests.program import Ran


def reference_in(text: str) -> str:
    found = re.search(r"CM-[A-Z2-9]{6}", text)
    assert found is not None, text
    return found[0]


Runner = Callable[..., Ran]
ADD = ("purchase", "add", "1", "--vendor", "Vendor", "--name", "shop.example", "--number", "V-1")


@pytest.fixture
def bought(certmgr: Runner) -> Runner:
    """A purchase of three years without a certificate so far."""
    assert certmgr("client", "add", "1", "One").code == 0
    assert certmgr("domain", "add", "shop.example", "--client", "1").code == 0
    terms = ("--years", "3", "--price", "300", "--fee", "25", "--currency", "EUR")
    assert certmgr(*ADD, *terms, "--start", "2026-11-25").code == 0
    return certmgr


def test_page_of_a_purchase_without_certificates_shows_when_each_planned_one_ends(
    bought: Runner,
) -> None:
    """The page of a new purchase ended with an internal error."""
    shown = bought("purchase", "show", "V-1")
    assert shown.code == 0, shown.err
    planned = bought("purchase", "show", "V-1", "--format", "json").json["ahead"]
    lines = [line for line in shown.out.splitlines() if " days)" in line]
    assert "none yet" in shown.out
    assert len(lines) == len(planned) > 2
    for line, certificate in zip(lines, planned, strict=True):
        end = certificate["not_after"][:10]
        assert f"certificate {certificate['number']}, until {end}" in line
    assert len({c["not_after"] for c in planned}) == len(planned), "each ends on another day"
    assert "price 300 EUR, fee 25 EUR" in shown.out


def test_plan_as_csv_has_a_row_per_certificate(bought: Runner) -> None:
    header, *rows = bought("purchase", "show", "V-1", "--format", "csv").out.splitlines()
    assert header == ("number,issue,not_after,days,domain_validation,organisation_validation,tail")
    assert len(rows) > 2


def test_list_shows_what_is_due_and_hides_what_was_cancelled(bought: Runner) -> None:
    listed = bought("purchase", "list", "--format", "json").json["orders"]
    assert [(o["order"], o["number"], o["state"]) for o in listed] == [("#1", "V-1", "active")]
    assert "V-1" not in bought("purchase", "list", "--due", "0").out
    assert {c["what"] for c in listed[0]["clocks"]} >= {"order"}
    assert bought("purchase", "cancel", "V-1", "--reason", "changed their mind").code == 0
    assert "There are no purchases" in bought("purchase", "list").out
    (row,) = bought("purchase", "list", "--all", "--format", "json").json["orders"]
    assert (row["state"], row["clocks"], row["due"]) == ("cancelled", [], None)


def test_what_is_printed_as_reference_of_a_purchase_can_be_pasted_into_a_shell(
    bought: Runner,
) -> None:
    """``#1`` begins a comment, and a bare 1 is the vendor's number of another purchase here."""
    other = ("--vendor", "Vendor", "--name", "shop.example", "--number", "1")
    assert bought("purchase", "add", "1", *other, "--start", "2026-11-26").code == 0
    table = bought("purchase", "list").out.splitlines()[1:]
    document = bought("purchase", "list", "--format", "csv").out
    csv = [line.partition(",")[0] for line in document.splitlines()]
    printed = {row.split()[0] for row in table}
    assert printed == {"id:1", "id:2"} == set(csv[1:])
    for reference in printed:
        assert shlex.split(reference, comments=True) == [reference]
        document = bought("purchase", "show", reference, "--format", "json").json
        assert f"id:{document['order']['id']}" == reference
    assert bought("purchase", "show", "1", "--format", "json").json["order"]["id"] == 2
    assert bought("purchase", "show", "#1", "--format", "json").json["order"]["id"] == 1
    renewed = bought("purchase", "renew", "id:1").out
    assert renewed.startswith("Purchase id:3 follows id:1:")
    case = reference_in(bought("case", "open", "1", "--purchase", "id:3").out)
    for page in (
        renewed,
        bought("purchase", "show", "id:1").out,
        bought("purchase", "renew", "id:1").err,
        bought("domain", "show", "shop.example").out,
        bought("case", "show", case).out,
        bought("case", "list").out,
        bought("status").out,
    ):
        assert not re.search(r"#\d", page), page
    # A reference is pasted from the subject of a mail, or from the end of a sentence.
    for typed in (f"[{case}]", f"{case}.", case.lower()):
        assert bought("case", "show", typed).code == 0, typed


def test_commands_quote_what_an_administrator_named(certmgr: Runner) -> None:
    number = "A & B #7"
    assert certmgr("client", "add", number, "Shop & Sons").code == 0
    again = certmgr("client", "add", number, "Other")
    command = again.err[again.err.index("certmgr client") :].strip().removesuffix(".")
    assert certmgr(*shlex.split(command, comments=True)[1:]).code == 0
