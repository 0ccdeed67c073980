"""Tests of ``certmgr purchase list`` and ``show``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.program import Ran

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
