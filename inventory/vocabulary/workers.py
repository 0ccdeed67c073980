"""Words of what a command leaves to a worker. Pure."""

from enum import StrEnum


class CallKind(StrEnum):
    """What a command asks of a worker, and waits for.

    ``reports``: the reports of some clients; ``report-index``: the page that links all of them;
    ``transfer``: the names of a zone of the DNS; ``live-check``: which certificates are served, as
    seen from a vantage point.
    """

    REPORTS = "reports"
    REPORT_INDEX = "report-index"
    TRANSFER = "transfer"
    LIVE_CHECK = "live-check"
