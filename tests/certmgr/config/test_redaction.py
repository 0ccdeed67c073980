"""Secrets in log lines."""

from __future__ import annotations

from certmgr.config.redaction import redact


def test_fields_of_a_query_with_a_secret_are_masked() -> None:
    url = "https://a.test/?x=1&sslPassword=p&my_api-key=k;token=t&n=2#f"
    assert redact(url) == "https://a.test/?x=1&sslPassword=***&my_api-key=***;token=***&n=2#f"


def test_long_text_that_resembles_a_field_takes_linear_time() -> None:
    # A search from each of the words would take hours.
    text = "?" + "pass" * 300_000
    assert redact(text) == text
