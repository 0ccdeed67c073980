"""Reports of the CCADB about roots, as rules. Pure.

The CCADB (Common CA Database) is where the root programmes of browsers publish their decisions.
Two reports are understood, by their columns:

- ``AllIncludedRootCertsCSV``: CA Owner, Certificate Name, Apple Status, Apple Trust Bits, Google
  Chrome Status, Microsoft Status, Microsoft EKUs, Mozilla Status, Mozilla Trust Bits, SHA-256
  Fingerprint. It has the present state of each root, without dates.
- Mozilla's ``IncludedCACertificateReportPEMCSV``: SHA-256 Fingerprint, Trust Bits, and Distrust for
  TLS After Date (as 2026.08.06), among others.

A root that a report does not name is left as it is: a partial report is no proof of a removal.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

from certmgr.x509.trust_rules import TrustRule, normalised_hash
from inventory.errors import UsageError
from inventory.text import printable

ORIGIN = "ccadb"
ALL_INCLUDED = "AllIncludedRootCertsCSV"
MOZILLA_INCLUDED = "IncludedCACertificateReportPEMCSV"
MAX_ROWS = 20_000
_FINGERPRINT = "SHA-256 Fingerprint"
_STATUS = {"chrome": ("Google Chrome Status", "Chrome Status"), "mozilla": ("Mozilla Status",)}
_BITS = "Mozilla Trust Bits"
_DISTRUST = "Distrust for TLS After Date"
# MRSP 3.1: roots with the websites and the email bit are to be split by then. Which of the two
# bits a root loses is not known before, so the date is approximate.
_SPLIT = datetime(2028, 12, 31, tzinfo=UTC)


def is_report(text: str) -> bool:
    """Return whether a text looks like one of the reports, by its header."""
    return _FINGERPRINT in text[:5000].partition("\n")[0]


def read_report(text: str, what: str, now: datetime) -> tuple[str, list[TrustRule], int]:
    """Return the name of the report, its rules, and how many roots it names.

    Args:
        text: The CSV file.
        what: Names the file in errors.
        now: When the report was taken; the file itself has no date.

    Raises:
        UsageError: It is not a complete report of the CCADB.
    """
    try:
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True
        )
        columns = [c.strip() for c in reader.fieldnames or ()]
        reader.fieldnames = columns
        chrome = next((c for c in _STATUS["chrome"] if c in columns), "")
        if {_FINGERPRINT, _BITS, "Mozilla Status"} <= set(columns) and chrome:
            name, convert = ALL_INCLUDED, _all_included
        elif {_FINGERPRINT, "Trust Bits", _DISTRUST} <= set(columns):
            name, convert = MOZILLA_INCLUDED, _mozilla_included
        else:
            raise _invalid(
                what,
                f"its columns are not those of {ALL_INCLUDED} or {MOZILLA_INCLUDED}:"
                f" {printable(', '.join(columns[:12]), 200)}",
            )
        rules: list[TrustRule] = []
        seen: set[str] = set()
        for number, row in enumerate(reader, 2):
            if number > MAX_ROWS:
                raise _invalid(what, f"it has more than {MAX_ROWS:,} rows")
            # A short row has None in its last columns: the download ended early.
            if None in row.values() or None in row:
                raise _invalid(what, f"row {number} has another number of columns")
            sha256 = normalised_hash(row[_FINGERPRINT])
            if sha256 is None:
                shown = printable(row[_FINGERPRINT], 80)
                raise _invalid(what, f"row {number}: '{shown}' is not a SHA-256 fingerprint")
            if sha256 in seen:
                raise _invalid(what, f"row {number} names a root for the second time")
            seen.add(sha256)
            rules += convert(row, sha256, f"{what}, row {number}")
    except csv.Error:
        raise _invalid(what, "it is not a CSV file, or its download ended early") from None
    if not seen:
        raise _invalid(what, "it names no root")
    return name, [*rules, *_included(rules, seen, name, now)], len(seen)


def _delimiter(text: str) -> str:
    """Return the delimiter of a report.

    The CCADB writes commas. Spreadsheet programs of many countries save it with semicolons.
    """
    # No column name has a line break, so the first line is the header.
    header = text.lstrip("\ufeff")[:5000].partition("\n")[0]
    try:
        return csv.Sniffer().sniff(header, delimiters=",;\t").delimiter
    except csv.Error:
        return ","


def _included(
    rules: Sequence[TrustRule], seen: set[str], report: str, now: datetime
) -> Iterator[TrustRule]:
    """Yield a rule per browser about the roots that the report confirms to be in its list."""
    browsers = ("chrome", "mozilla") if report == ALL_INCLUDED else ("mozilla",)
    for browser in browsers:
        removed = {
            c
            for r in rules
            if r.kind == "removed" and r.at is None and browser in r.browsers
            for c in r.certificates
        }
        if confirmed := seen - removed:
            yield TrustRule(
                name=f"ccadb-{browser}-included-{report}",
                browsers=(browser,),
                kind="included",
                ca="roots in the list",
                at=now,
                certificates=frozenset(confirmed),
                source=f"CCADB, {report}",
                confidence="V",
                origin=f"{ORIGIN}:{report}",
            )


def _invalid(what: str, why: str) -> UsageError:
    return UsageError(
        f"{what} is not a report of the CCADB", why, f"Download {ALL_INCLUDED} of the CCADB again."
    )


def _rule(
    row: Mapping[str, str], sha256: str, browser: str, kind: str, report: str, **more: object
) -> TrustRule:
    owner = row.get("CA Owner") or row.get("Owner") or ""
    label = row.get("Certificate Name") or row.get("Common Name or Certificate Name") or ""
    values: dict[str, object] = {"confidence": "V"} | more
    return TrustRule(
        name=f"ccadb-{browser}-{kind}-{sha256[:32]}",
        browsers=(browser,),
        kind=kind,
        ca=printable(owner or label or sha256, 100),
        certificates=frozenset({sha256}),
        source=f"CCADB, {report}",
        origin=f"{ORIGIN}:{report}",
        **values,  # type: ignore[arg-type]
    )


def _all_included(row: Mapping[str, str], sha256: str, where: str) -> Iterator[TrustRule]:
    statuses = {
        browser: next((row[c].strip() for c in names if c in row), "")
        for browser, names in _STATUS.items()
    }
    bits = _bits(row[_BITS])
    for browser, status in statuses.items():
        # "Change requested" is a root of the list about which a decision is open.
        included = status.casefold() in ("included", "change requested")
        # Mozilla includes some roots for e-mail only.
        if not included or (browser == "mozilla" and "websites" not in bits):
            yield _rule(row, sha256, browser, "removed", ALL_INCLUDED)
        elif browser == "mozilla" and "email" in bits:
            yield _rule(row, sha256, browser, "removed", ALL_INCLUDED, at=_SPLIT, approximate=True)


def _mozilla_included(row: Mapping[str, str], sha256: str, where: str) -> Iterator[TrustRule]:
    if "websites" not in _bits(row["Trust Bits"]):
        yield _rule(row, sha256, "mozilla", "removed", MOZILLA_INCLUDED)
        return
    text = row[_DISTRUST].strip()
    if not text:
        return
    day = _date(text)
    if day is None:
        raise _invalid(where, f"'{printable(text, 40)}' is not a date such as 2026.08.06")
    # The last second of the day still counts. Mozilla takes notBefore.
    last = datetime.combine(day, time(0), UTC) + timedelta(days=1, seconds=-1)
    yield _rule(
        row, sha256, "mozilla", "not-trusted-after", MOZILLA_INCLUDED, at=last, basis="issued"
    )


def _bits(text: str) -> set[str]:
    return {part.strip().casefold() for part in re.split(r"[;,]", text)}


def _date(text: str) -> date | None:
    try:
        day = date.fromisoformat(text.replace(".", "-").replace("/", "-"))
    except ValueError:
        return None
    # A date of the year 9999 would overflow.
    return day if 1990 <= day.year <= 2200 else None
