"""``certmgr report --all`` over workers: they render, and the command writes the files."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from certmgr.config.context import Context
from certmgr.operations.client_reports import LinkedReport, RenderedReport, ReportOptions
from certmgr.operations.report_settings import report_data, report_settings
from certmgr.operations.stopping import StopState
from certmgr.workers.calls import CallQueue, RemoteCalls
from certmgr.workers.queue_names import REPORT
from inventory.vocabulary import CallKind

# Of a page with some sites, a call takes less than a second.
CLIENTS_PER_CALL = 20


class SpreadReports:
    """Lets workers render the reports of one command."""

    def __init__(
        self, context: Context, queues: CallQueue, options: ReportOptions, stop: StopState
    ) -> None:
        """Prepare the reports.

        Args:
            context: The inventory; its clock stands still.
            queues: The queues of the workers.
            options: What the reports have in common.
            stop: What interrupts the waiting.
        """
        self._calls = RemoteCalls(context, queues, REPORT, stop=stop)
        self._options = options
        as_of = options.as_of
        self._arguments: dict[str, Any] = {
            "format": options.output_format,
            "as_of": None if as_of is None else as_of.isoformat(),
            "language": options.language_code,
            # All reports have the time and settings of the command, and not those of a worker.
            "now": context.now().isoformat(),
            "settings": report_settings(context.settings),
            "data": report_data(context.settings),
        }

    def render(self, numbers: Sequence[str]) -> Generator[RenderedReport]:
        """Yield the report of each client, in this order."""
        parts = [
            numbers[start : start + CLIENTS_PER_CALL]
            for start in range(0, len(numbers), CLIENTS_PER_CALL)
        ]
        arguments = ({**self._arguments, "clients": list(part)} for part in parts)
        for result in self._calls.each(CallKind.REPORTS, arguments):
            for row in result.values["links"]:
                link = LinkedReport(*row)
                content = result.files.get(self._options.file_name(link.number))
                yield RenderedReport(link, content)

    def index(self, links: Sequence[LinkedReport]) -> bytes:
        """Return the page of all clients."""
        rows = [[x.number, x.state, x.label] for x in links]
        result = self._calls.one(CallKind.REPORT_INDEX, {**self._arguments, "links": rows})
        return result.files["index.html"]
