"""The request that shows an outside monitor that a run was successful."""

from __future__ import annotations

import ssl

from certmgr.net.http_client import HttpClient, HttpLimits
from certmgr.net.http_stream import AddressPolicy, HttpError, HttpProblem
from inventory.errors import CertmgrError

SECONDS = 10.0  # per try
TRIES = 3
# A connection may fail once without a reason; the monitor would raise a false alarm.
_AGAIN = (HttpProblem.CONNECTION, HttpProblem.INCOMPLETE)


def heartbeat(url: str) -> None:
    """Send one GET request to the heartbeat URL. Its host may be an internal one.

    Raises:
        CertmgrError: The request failed. The outside monitor will raise an alarm as well.
    """
    # The URL may contain a secret, which plain HTTP would disclose.
    if not url.startswith("https://"):
        raise CertmgrError(
            "The heartbeat URL is invalid", "it is not https://", "Correct [notify] heartbeat."
        )
    # Only the status is read: what a monitor answers is not ours to interpret.
    status = _request(url)
    # A redirect would carry the secret of the URL to another host.
    if 300 <= status < 400:
        raise CertmgrError(
            "The heartbeat was not accepted",
            f"HTTP {status}: the monitor redirects to another URL, which is not requested",
            "Enter the final URL in [notify] heartbeat.",
        )
    if status >= 400:
        raise CertmgrError("The heartbeat was refused", f"HTTP {status}", "Check the monitor.")


def _request(url: str) -> int:
    """Return the status."""
    client = HttpClient(
        policy=AddressPolicy(internal=True),
        limits=HttpLimits(SECONDS, body=0),
        # The roots of the system include those of an internal monitor.
        trust=ssl.create_default_context(),
    )
    reason = ""
    with client:
        for _ in range(TRIES):
            try:
                return client.get(url, {"User-Agent": "certmgr"}).status
            except HttpError as error:
                reason = error.message
                if error.problem not in _AGAIN:
                    break
    raise CertmgrError("The heartbeat could not be sent", reason, "Check the monitor.")
