"""Which findings about pages a scan may close: a failed visit never erases what was known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from certmgr.inspection.reconcile import OpenFinding, reconcile
from certmgr.inspection.report import AddressView, EndpointReport, PageSummary
from inventory.targets import Target
from inventory.vocabulary import Finding
from tests.certmgr.tls_servers import HOST

A = "192.0.2.1"
PLAIN, SECURE = f"http://{HOST}/", f"https://{HOST}/"
SECRETS = Finding("http-collects-secrets", "critical", (A,), {"url": PLAIN})
MIXED = Finding("mixed-content", "medium", (A,), {"url": SECURE})
LOOP = Finding("redirect-loop", "critical", (A,), {"url": SECURE})
BROKEN = Finding("redirect-broken", "critical", (A,), {"url": PLAIN, "to": SECURE})
INVALID = Finding("answer-invalid", "critical", (A,), {"url": SECURE})
ASKING = Finding("client-certificate-required", "info", (A,), {"url": SECURE})
FAILED = Finding("scanner-error", "undetermined", (A,), {"url": PLAIN, "error": "no answer"})
UNKNOWN = Finding(
    "http-unknown",
    "undetermined",
    (A,),
    {"url": PLAIN, "why": "it refuses our request (403)"},
)
LARGE = Finding(
    "too-large",
    "undetermined",
    (A,),
    {"url": PLAIN, "reason": "the page exceeds the size limit"},
)
OF_PAGES = [SECRETS, MIXED, LOOP, BROKEN, INVALID, ASKING, UNKNOWN, LARGE, FAILED]
GOOD = PageSummary({}, "d", secure=frozenset({A}))


def address(answered: bool = True, **changes: Any) -> AddressView:
    values: dict[str, Any] = {
        "address": A,
        "tls_version": "TLSv1.3" if answered else None,
        "cipher": None,
        "group": None,
        "alpn": None,
        "ocsp": None,
        "chain": ("x",) if answered else (),
        "trusted": True if answered else None,
        "error": None if answered else ("connect", "refused"),
    }
    return AddressView(**values | changes)


def report(web: PageSummary | None, view: AddressView | None = None) -> EndpointReport:
    view = view or address()
    return EndpointReport(
        Target(HOST),
        datetime(2026, 11, 23, tzinfo=UTC),
        None,
        (view,),
        (),
        view.seen,
        False,
        True,
        (),
        None,
        web=web,
    )


def closes(finding: Finding, scanned: EndpointReport) -> bool:
    """Whether a scan with this report closes the finding."""
    return reconcile([OpenFinding(1, finding)], scanned).closed == [1]


@pytest.mark.parametrize("finding", OF_PAGES, ids=lambda f: f.code)
def test_complete_visit_without_the_finding_closes_it(finding: Finding) -> None:
    assert closes(finding, report(GOOD))


@pytest.mark.parametrize("finding", OF_PAGES, ids=lambda f: f.code)
def test_scan_without_pages_closes_nothing_about_pages(finding: Finding) -> None:
    assert not closes(finding, report(None))


@pytest.mark.parametrize("finding", [SECRETS, MIXED, LOOP, UNKNOWN], ids=lambda f: f.code)
def test_address_without_a_route_closes_nothing(finding: Finding) -> None:
    web = PageSummary({}, "d", skipped=frozenset({A}), secure=frozenset())
    assert not closes(finding, report(web, address(False, no_route=True)))


@pytest.mark.parametrize(
    ("finding", "web", "closed"),
    [
        (SECRETS, PageSummary({}, "d", unknown_plain=frozenset({A}), secure=frozenset({A})), False),
        # Plain HTTP did redirect.
        (SECRETS, PageSummary({}, "d", unknown_secure=frozenset({A}), secure=frozenset({A})), True),
        (MIXED, PageSummary({}, "d", unknown_plain=frozenset({A}), secure=frozenset({A})), True),
        (MIXED, PageSummary({}, "d", unknown_secure=frozenset({A}), secure=frozenset({A})), False),
        (MIXED, PageSummary({}, "d"), False),  # no HTTPS
        (LOOP, PageSummary({}, "d"), False),
        # A site without HTTPS corrected its redirect.
        (BROKEN, PageSummary({}, "d"), True),
        (BROKEN, PageSummary({}, "d", unknown_plain=frozenset({A})), False),
        (INVALID, PageSummary({}, "d"), False),
        (INVALID, PageSummary({}, "d", unknown_plain=frozenset({A}), secure=frozenset({A})), True),
        (ASKING, PageSummary({}, "d", unknown_secure=frozenset({A}), secure=frozenset({A})), False),
        (LOOP, PageSummary({}, "d", unknown_plain=frozenset({A}), secure=frozenset({A})), False),
    ],
)
def test_finding_is_closed_if_its_own_scheme_was_visited(
    finding: Finding,
    web: PageSummary,
    closed: bool,
) -> None:
    assert closes(finding, report(web)) is closed


def test_endpoint_that_expects_no_page_any_more_has_its_findings_closed() -> None:
    assert closes(SECRETS, report(PageSummary(None, "", expected=False)))
