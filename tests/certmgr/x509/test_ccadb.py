"""Reports of the CCADB as rules."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from certmgr.x509.ccadb import ALL_INCLUDED, MOZILLA_INCLUDED, is_report, read_report
from certmgr.x509.trust_rules import TrustRule
from inventory.errors import UsageError

COLUMNS = (
    "CA Owner",
    "Certificate Name",
    "Apple Status",
    "Apple Trust Bits",
    "Google Chrome Status",
    "Microsoft Status",
    "Microsoft EKUs",
    "Mozilla Status",
    "Mozilla Trust Bits",
    "SHA-256 Fingerprint",
)
NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)
A, B = "AA" * 32, "BB" * 32


def row(sha256: str = A, **changes: str) -> dict[str, str]:
    values = dict.fromkeys(COLUMNS, "") | {
        "CA Owner": 'Owner, "quoted"',
        "Certificate Name": "Root\nof two lines",
        "Google Chrome Status": "Included",
        "Mozilla Status": "Included",
        "Mozilla Trust Bits": "Websites",
        "SHA-256 Fingerprint": sha256,
    }
    return values | changes


def report(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def read(text: str) -> tuple[str, list[TrustRule], int]:
    return read_report(text, "report.csv", NOW)


def kinds(text: str) -> set[tuple[str, str]]:
    return {(r.browsers[0], r.kind) for r in read(text)[1]}


def test_root_of_both_lists_is_confirmed() -> None:
    name, rules, roots = read(report(row(), row(B)))
    assert (name, roots) == (ALL_INCLUDED, 2)
    assert [(r.browsers, r.kind, r.at) for r in rules] == [
        (("chrome",), "included", NOW),
        (("mozilla",), "included", NOW),
    ]
    assert all(r.certificates == {A.lower(), B.lower()} for r in rules)
    assert all(r.origin.startswith("ccadb:") for r in rules)


@pytest.mark.parametrize(
    ("changes", "browser"),
    [
        ({"Google Chrome Status": "Removed"}, "chrome"),
        ({"Google Chrome Status": "Not Included"}, "chrome"),
        ({"Google Chrome Status": ""}, "chrome"),
        ({"Mozilla Status": "Removed"}, "mozilla"),
        ({"Mozilla Trust Bits": "Email"}, "mozilla"),
        ({"Mozilla Trust Bits": ""}, "mozilla"),
    ],
)
def test_root_outside_a_list_is_removed_for_that_browser(
    changes: dict[str, str], browser: str
) -> None:
    _, rules, _ = read(report(row(**changes)))
    removed = [r for r in rules if r.kind == "removed"]
    assert [(r.browsers, r.at) for r in removed] == [((browser,), None)]
    assert [r.browsers[0] for r in rules if r.kind == "included"] != [browser]
    assert removed[0].ca == 'Owner, "quoted"'


def test_open_decision_is_no_removal() -> None:
    text = report(row(**{"Mozilla Status": "Change Requested"}))
    assert ("mozilla", "removed") not in kinds(text)


def test_root_for_mail_too_is_split_about_the_end_of_2028() -> None:
    """MRSP 3.1: dedicated hierarchies by 2028-12-31."""
    _, rules, _ = read(report(row(**{"Mozilla Trust Bits": "Email;Websites"})))
    (split,) = [r for r in rules if r.kind == "removed"]
    assert (split.at, split.approximate) == (datetime(2028, 12, 31, tzinfo=UTC), True)
    assert ("mozilla", "included") in kinds(report(row(**{"Mozilla Trust Bits": "Email;Websites"})))


def test_columns_may_stand_in_another_order_and_more_may_follow() -> None:
    columns = ("New", *reversed(COLUMNS))
    text = report({"New": "x"} | row(), columns=columns)
    assert is_report(text)
    assert kinds(text) == {("chrome", "included"), ("mozilla", "included")}


def mozilla(date: str, bits: str = "Websites") -> str:
    columns = (
        "Owner",
        "SHA-256 Fingerprint",
        "Trust Bits",
        "Distrust for TLS After Date",
        "PEM Info",
    )
    values = (
        "Owner",
        A,
        bits,
        date,
        "'-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----'",
    )
    return report(dict(zip(columns, values, strict=True)), columns=columns)


@pytest.mark.parametrize("text", ["2026.08.06", "2026-08-06", "2026/08/06"])
def test_distrust_date_of_mozilla_counts_through_its_last_second(text: str) -> None:
    name, rules, _ = read(mozilla(text))
    assert name == MOZILLA_INCLUDED
    (after,) = [r for r in rules if r.kind == "not-trusted-after"]
    assert after.at == datetime(2026, 8, 6, 23, 59, 59, tzinfo=UTC)
    assert (after.basis, after.browsers) == ("issued", ("mozilla",))


def test_root_of_mozilla_without_the_websites_bit_is_removed() -> None:
    assert kinds(mozilla("", "Email")) == {("mozilla", "removed")}
    assert kinds(mozilla("")) == {("mozilla", "included")}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (report(), "names no root"),
        (report(row(), row()), "second time"),
        (report(row("xyz")), "not a SHA-256"),
        (report(row(B))[:-90], "number of columns"),
        (report(row())[:-3], "CSV"),
        (report(row()).replace("Mozilla Status", "Mozilla State"), "columns"),
        (mozilla("soon"), "not a date"),
        (mozilla("9999.99.99"), "not a date"),
        ("<html>SHA-256 Fingerprint</html>", "columns"),
    ],
)
def test_incomplete_report_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert reason in caught.value.why


def test_longest_field_is_bounded() -> None:
    values: dict[str, Any] = row(**{"Certificate Name": "x" * 200_000})
    with pytest.raises(UsageError):
        read(report(values))


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_report_that_a_spreadsheet_saved_again_has_the_same_rules(
    delimiter: str, quoting: Literal[0, 1]
) -> None:
    text = report(row(), row(B, **{"CA Owner": "one; two, three", "Mozilla Status": "Removed"}))
    buffer = io.StringIO()
    rows = csv.reader(io.StringIO(text, newline=""))
    csv.writer(buffer, delimiter=delimiter, quoting=quoting).writerows(rows)
    saved = buffer.getvalue()
    assert is_report(saved)
    assert read(saved) == read(text)
