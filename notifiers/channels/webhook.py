"""The delivery status of a message to a webhook, from the lines that apprise logged. Pure.

The hundred services of apprise share no interface for the status of an HTTP answer; they only log
it in one format.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from inventory.text import printable
from notifiers.channels.results import DeliveryStatus, SendResult

# Only these lines are read. Other lines contain message bodies.
RELEVANT_LINE = re.compile(
    r"Socket Exception|Connection error|error=\d+|occurr?ed sending", re.IGNORECASE
)
_CODE = re.compile(r"error=(\d{3})")
# These failures happen before any part of the message is handed over.
_NOT_HANDED_OVER = re.compile(
    r"connection refused|errno 111|name or service not known|errno -[235]\b|no route to"
    r" host|network is unreachable|certificate verify"
    r" failed|newconnectionerror|connecttimeout|connect timeout",
    re.I,
)
# 408 Request Timeout, 425 Too Early, 429 Too Many Requests (RFC 9110, 8470, 6585).
_RETRY_CODES = (408, 425, 429)


def webhook_result(lines: Sequence[str]) -> SendResult:
    """Return the result of a failed call.

    Args:
        lines: What apprise logged, without message bodies.
    """
    text = "\n".join(lines)
    if (found := _CODE.search(text)) is not None:
        code = int(found[1])
        is_temporary = code in _RETRY_CODES or code >= 500
        return SendResult(
            DeliveryStatus.TEMPORARY if is_temporary else DeliveryStatus.PERMANENT,
            f"HTTP {code}",
            code,
            # A refusal concerns the URL or its secret, so the next message would be refused too.
            channel_down=not is_temporary,
        )
    shown = printable(" ".join(text.split()), 300).replace("Socket Exception: ", "")[:200]
    if _NOT_HANDED_OVER.search(text):
        return SendResult(
            DeliveryStatus.TEMPORARY,
            f"the webhook could not be reached: {shown}",
            channel_down=True,
        )
    # The service may have acted on the request before the connection broke.
    return SendResult(DeliveryStatus.UNKNOWN, f"no answer: {shown}", channel_down=True)


def redirect_result(code: int, origin: str) -> SendResult:
    """Return the result of a call that was answered by a redirect, which is not followed.

    Args:
        code: The status code.
        origin: Where it leads to.
    """
    return SendResult(
        DeliveryStatus.PERMANENT,
        f"HTTP {code}: the service redirects to {origin}. A redirect is not followed, since it may"
        " lead to a login page or an internal address; correct the URL of the channel.",
        code,
        channel_down=True,
    )
