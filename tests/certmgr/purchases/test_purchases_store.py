"""Purchases in both kinds of database: refusals, numbers of a vendor, export and import."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inventory.db.database import Database, from_epoch
from inventory.errors import CertmgrError, Conflict, NotFound, UsageError
from inventory.importers import purchases_format
from inventory.store import purchase_changes, purchase_values, purchases
from tests.certmgr.purchases.adding import NAME, add
from tests.clock import START as NOW

OF_OTHER = "shop1002.example"


def at(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def test_purchase_from_a_leap_day_ends_before_28_february() -> None:
    """A year after 29 February is 28 February; the purchase ends one second before it."""
    leap_day = datetime(2028, 2, 29, tzinfo=UTC)
    assert purchase_values.years_later(leap_day, 1) == datetime(2029, 2, 27, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("names", "given", "reason"),
    [
        ((OF_OTHER,), {}, "belongs to the client 1002"),
        ((f"www.{OF_OTHER}",), {}, "belongs to the client 1002"),
        ((f"*.{OF_OTHER}",), {}, "belongs to the client 1002"),
        ((), {}, "at least one name"),
        ((NAME,), {"price": "cheap"}, "not an amount"),
        ((NAME,), {"price": "-1"}, "is out of range"),
        ((NAME,), {"price": "1e99"}, "is out of range"),
        ((NAME,), {"price": "NaN"}, "is out of range"),
        ((NAME,), {"currency": "XYZW"}, "currency"),
        ((NAME,), {"price": "1", "currency": None}, "needs a currency"),
        ((NAME,), {"years": 9}, "9 years"),
        ((NAME,), {"ends_at": NOW - timedelta(days=1)}, "ends before it starts"),
        ((NAME,), {"vendor": " "}, "vendor is empty"),
        ((NAME, f"b.{NAME}"), {"kind": "single"}, "covers 2 names"),
        ((f"*.{NAME}",), {"validation": "ev"}, "no EV wildcards"),
        (("../../etc",), {}, "not a domain name"),
        ((NAME,), {"contact": "Owner 1002"}, "no contact"),
    ],
)
def test_invalid_purchase_is_refused_and_not_stored(
    two_clients: Database, names: tuple[str, ...], given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CertmgrError) as error:
        add(two_clients, names=names, **given)
    assert reason in str(error.value)
    with two_clients.read() as conn:
        assert purchases.listing(conn) == []


@pytest.mark.parametrize(
    "given",
    [
        {"starts_at": at(1900)},
        {"starts_at": at(2026), "ends_at": at(9999)},
        {"dcv_at": at(2040)},
    ],
)
def test_purchase_with_an_impossible_year_is_refused(
    two_clients: Database, given: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        add(two_clients, number="1", **given)


def test_number_of_a_vendor_identifies_one_purchase(two_clients: Database) -> None:
    add(two_clients, number="D-1")
    with pytest.raises(Conflict):
        add(two_clients, number="D-1")
    add(two_clients, number="D-1", vendor="Sectigo")
    with two_clients.read() as conn, pytest.raises(UsageError, match="2 purchases"):
        purchases.find(conn, "D-1")
    with two_clients.read() as conn, pytest.raises(NotFound):
        purchases.find(conn, "D-2")


def test_cancelled_purchase_keeps_its_reason_and_is_not_cancelled_again(
    two_clients: Database,
) -> None:
    add(two_clients, number="D-1")
    with two_clients.write(NOW) as tx:
        purchase_changes.cancel(tx, "D-1", "moved to ACME")
    with two_clients.read() as conn:
        assert purchases.find(conn, "D-1").reason == "moved to ACME"
    with two_clients.write(NOW) as tx, pytest.raises(Conflict):
        purchase_changes.cancel(tx, "D-1", "again")


@pytest.mark.parametrize("output_format", ["csv", "json"])
def test_exported_purchases_are_imported_unchanged(
    two_clients: Database, tmp_path: Path, output_format: str
) -> None:
    formula = "=cmd()|' /C calc'!A0"
    add(two_clients, number="D-1", note=formula, years=2, price="10", dcv_at=NOW)
    names = (OF_OTHER, f"*.{OF_OTHER}")
    add(two_clients, client="1002", names=names, vendor="Sectigo", documents=["/a", "/b"])
    with two_clients.read() as conn:
        before = purchases.listing(conn)
    path = tmp_path / f"orders.{output_format}"
    path.write_text(purchases_format.write(before, output_format))
    if output_format == "csv":
        assert "'=cmd()" in path.read_text(), "a spreadsheet must not run it"
    read = {"csv": purchases_format.read_csv, "json": purchases_format.read_json}[output_format]
    result = purchases_format.apply(two_clients, read(path), "UTC", NOW, dry_run=False)
    assert (result.rows, result.added, result.changed, result.problems) == (2, 0, 0, [])
    with two_clients.read() as conn:
        assert purchases.listing(conn) == before


def test_invalid_rows_are_reported_and_the_others_are_imported(
    two_clients: Database, tmp_path: Path
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "client;vendor;number;names;start;end;auto_renew\n"
        "1001;DigiCert;D-1;shop1001.example;2026-01-01;2026-12-31;yes\n"
        "1002;DigiCert;D-2;shop1001.example;2026-01-01;;no\n"
        "1009;DigiCert;D-3;x.example;;;\n"
        "1001;DigiCert;D-4;shop1001.example;31.13.2026;;\n"
        "1001;DigiCert;D-5;shop1001.example;;;perhaps\n"
        "1001;DigiCert;D-6;;;;\n"
    )
    zone = "Europe/Berlin"
    preview = purchases_format.apply(
        two_clients, purchases_format.read_csv(path), zone, NOW, dry_run=True
    )
    with two_clients.read() as conn:
        assert purchases.listing(conn) == []
    result = purchases_format.apply(
        two_clients, purchases_format.read_csv(path), zone, NOW, dry_run=False
    )
    assert preview.lines == result.lines == ["purchase DigiCert D-1 of client 1001: added"]
    assert [p.where.rpartition(":")[2] for p in result.problems] == ["3", "4", "5", "6", "7"]
    with two_clients.read() as conn:
        (row,) = purchases.listing(conn)
    # Days are those of the provider's time zone.
    assert from_epoch(row.starts_at) == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert from_epoch(row.ends_at) == datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC)
    assert row.auto_renew == 1


def test_imported_row_of_a_known_number_changes_the_purchase(
    two_clients: Database, tmp_path: Path
) -> None:
    add(two_clients, number="D-1", auto_renew=True)
    path = tmp_path / "result.csv"
    path.write_text(
        "client,vendor,number,names,auto_renew\n1001,DigiCert,D-1,shop1001.example"
        " www.shop1001.example,no\n"
    )
    result = purchases_format.apply(
        two_clients, purchases_format.read_csv(path), "UTC", NOW, dry_run=False
    )
    assert (result.added, result.changed) == (0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"orders": 1}',
        "{" * 100_000,
        '{"schema": "certmgr.order-export/1", "orders": {}}',
    ],
)
def test_file_that_is_not_an_export_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        list(purchases_format.read_json(path))


@pytest.mark.parametrize(
    "text",
    ["30.11.2026", "30/11/2026", "11/30/2026", "46356", "2026-11-30 00:00:00", "30.11.2026 00:00"],
)
def test_date_of_a_spreadsheet_is_the_day_that_it_shows(text: str) -> None:
    expected = purchases_format._parse_date("2026-11-30", "Europe/Berlin", last=True)
    assert purchases_format._parse_date(text, "Europe/Berlin", last=True) == expected


def test_date_with_two_readings_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a date"):
        purchases_format._parse_date("03/04/2026", "UTC", last=False)
