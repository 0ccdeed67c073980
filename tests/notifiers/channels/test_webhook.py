"""The delivery status of webhooks, from what apprise logged."""

from __future__ import annotations

import pytest

from notifiers.channels.results import DeliveryStatus
from notifiers.channels.webhook import webhook_result


@pytest.mark.parametrize(
    ("lines", "status", "down"),
    [
        ([], DeliveryStatus.UNKNOWN, True),
        (["Socket Exception: read timed out"], DeliveryStatus.UNKNOWN, True),
        (["Socket Exception: [Errno 111] Connection refused"], DeliveryStatus.TEMPORARY, True),
        (["Failed to send: x, error=503."], DeliveryStatus.TEMPORARY, False),
        (["Failed to send: x, error=425."], DeliveryStatus.TEMPORARY, False),
        (["Failed to send: x, error=403."], DeliveryStatus.PERMANENT, True),
    ],
)
def test_lines_without_an_answer_are_unknown_and_with_one_have_its_status(
    lines: list[str], status: DeliveryStatus, down: bool
) -> None:
    got = webhook_result(lines)
    assert (got.status, got.channel_down) == (status, down)
