"""When a certificate is due: ARI, a third of its life, revocation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certmgr.acme.renewal import renewal
from certmgr.acme.renewal.renewal import CertificateLife, due, is_near, parse_window
from certmgr.demo.authority import Authority

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "left"),
    [(90, 30), (45, 15), (10, 10 / 3), (6, 3), (9.9, 4.95)],
    ids=["90 d", "45 d", "10 d", "6 d: half", "just under 10 d"],
)
def test_without_ari_renewal_is_due_at_a_third_or_half_of_life(days: float, left: float) -> None:
    life = CertificateLife(NOW, NOW + days * DAY)
    assert due(life).at == NOW + days * DAY - left * DAY
    assert not due(life).urgent


def test_ari_decides_unless_the_end_is_near() -> None:
    end = NOW + 90 * DAY
    assert due(CertificateLife(NOW, end, ari_at=NOW + 50 * DAY)).at == NOW + 50 * DAY
    late = due(CertificateLife(NOW, end, ari_at=NOW + 89 * DAY))
    assert late.at == NOW + 75 * DAY and late.urgent
    assert is_near(CertificateLife(NOW, end), NOW + 76 * DAY) and not is_near(
        CertificateLife(NOW, end), NOW + 74 * DAY
    )


def test_revoked_certificate_is_due_at_once() -> None:
    found = due(
        CertificateLife(NOW, NOW + 90 * DAY, ari_at=NOW + 60 * DAY, must_replace="it is revoked")
    )
    assert found.at <= NOW and found.urgent and found.reason == "it is revoked"


def test_valid_window_is_read_and_invalid_window_is_ignored() -> None:
    end = NOW + 90 * DAY
    good = {
        "suggestedWindow": {"start": "2027-01-01T00:00:00Z", "end": "2027-01-03T00:00:00Z"},
        "explanationURL": "https://ca.example/why",
    }
    found = parse_window(good, end)
    assert found is not None
    assert found.url == "https://ca.example/why"
    assert found.select_time(0.0) == datetime(2027, 1, 1, tzinfo=UTC) and found.select_time(
        0.5
    ) == datetime(2027, 1, 2, tzinfo=UTC)
    bad: Any
    for bad in (
        {},
        [],
        None,
        "x",
        {"suggestedWindow": {}},
        {"suggestedWindow": {"start": "2027-01-03T00:00:00Z", "end": "2027-01-01T00:00:00Z"}},
        {"suggestedWindow": {"start": "tomorrow", "end": "never"}},
        {"suggestedWindow": {"start": "2029-01-01T00:00:00Z", "end": "2029-01-03T00:00:00Z"}},
        {"suggestedWindow": {"start": 5, "end": 6}},
        {"suggestedWindow": {"start": "2027-01-01T00:00:00", "end": "2027-01-03T00:00:00"}},
        {"suggestedWindow": {"start": "0001-01-01T00:00:00Z", "end": "0001-01-02T00:00:00Z"}},
        {"suggestedWindow": {"start": "9999-12-30T00:00:00Z", "end": "9999-12-31T00:00:00Z"}},
        {"suggestedWindow": {"start": None, "end": None}},
    ):
        assert parse_window(bad, end) is None, bad
    lower = {"start": "2027-01-01t00:00:00z", "end": "2027-01-03t00:00:00.123456789z"}
    assert parse_window({"suggestedWindow": lower}, end) is not None
    javascript = parse_window(good | {"explanationURL": "javascript:alert(1)"}, end)
    assert javascript is not None and javascript.url == ""


def test_ari_is_requested_again_within_a_minute_to_twelve_hours() -> None:
    assert renewal.next_ari_request(None, NOW) == NOW + timedelta(hours=6)
    assert renewal.next_ari_request("21600", NOW) == NOW + timedelta(hours=6)
    assert renewal.next_ari_request("999999", NOW) == NOW + timedelta(hours=12)
    assert renewal.next_ari_request("0", NOW) == NOW + timedelta(minutes=1)
    assert renewal.next_ari_request("Wed, 25 Nov 2026 13:00:00 GMT", NOW) == NOW + timedelta(
        hours=1
    )


def test_ari_id_equals_that_of_the_acme_library() -> None:
    """Against the id that the library makes, for serials whose first bit is set and not."""
    from acme.client import _renewal_info_path_component

    authority = Authority("Ari")
    for _ in range(8):
        leaf = authority.issue("a.test").certificate
        assert renewal.ari_id(leaf) == _renewal_info_path_component(leaf)
