"""What workers do for those that wait: reports, transfers of DNS zones, and checks in a zone."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from certmgr.config.context import Context
from certmgr.inspection.zone_checks import check_in_zone
from certmgr.operations.client_reports import ClientReports, LinkedReport, ReportOptions
from certmgr.operations.report_settings import report_data, with_report_settings
from certmgr.operations.zone_import import transferred_names
from certmgr.workers.calls import error_document
from inventory.errors import INTERNAL_ERROR, CertmgrError, ConfigError, DatabaseError
from inventory.records import BegunCall, CallResult
from inventory.store import worker_calls
from inventory.vocabulary import CallKind

_log = logging.getLogger(__name__)

# A call during which so many workers died is given up, since it may be the cause.
MAX_ATTEMPTS = 10


def answer(context: Context, call_id: int) -> None:
    """Do the work of a call, and store its result or error for the command that waits.

    Raises:
        DatabaseError: The database went away; the call is begun again.
        Exception: An internal error, after it was stored for the command.
    """
    with context.write() as tx:
        call = worker_calls.begin(tx, call_id)
    # Another worker was faster, or the command has ended.
    if call is None:
        return
    try:
        result = _result(context, call)
    except DatabaseError:
        raise
    except CertmgrError as error:
        _fail(context, call_id, error)
        return
    # The command must not wait for ever. The queue keeps the job as failed, so that doctor shows
    # it.
    except Exception:
        _fail(context, call_id, CertmgrError(f"A worker failed ({call.kind})", INTERNAL_ERROR))
        raise
    with context.write() as tx:
        if not worker_calls.finish(tx, call_id, result):
            _log.info("call %d: its result is not needed any more", call_id)


def _result(context: Context, call: BegunCall) -> CallResult:
    if call.attempts > MAX_ATTEMPTS:
        raise CertmgrError(
            f"The work was given up ({call.kind})",
            f"{MAX_ATTEMPTS} workers began it, and none finished it",
            "See the logs of the workers.",
        )
    _log.info("call %d: %s, attempt %d", call.id, call.kind, call.attempts)
    return _HANDLERS[call.kind](context, call.arguments)


def _fail(context: Context, call_id: int, error: CertmgrError) -> None:
    with context.write() as tx:
        worker_calls.fail(tx, call_id, error_document(error))


def _reports_of(context: Context, arguments: Mapping[str, Any]) -> ClientReports:
    as_of = arguments["as_of"]
    # All reports of a command have its time and settings, and not those of this machine.
    now = datetime.fromisoformat(arguments["now"])
    settings = with_report_settings(context.settings, arguments["settings"])
    data = report_data(settings)
    if data != arguments["data"]:
        raise ConfigError(
            f"The worker on {socket.gethostname()} would render other reports than this machine",
            f"it has {data}, and this machine has {arguments['data']}",
            "Install the same version of certmgr and the same [trust] data on both, or render in"
            " this process with --here.",
        )
    options = ReportOptions(
        output_format=arguments["format"],
        as_of=None if as_of is None else datetime.fromisoformat(as_of),
        language_code=arguments["language"],
    )
    return ClientReports(replace(context, clock=lambda: now, settings=settings), options)


def _reports(context: Context, arguments: Mapping[str, Any]) -> CallResult:
    reports = _reports_of(context, arguments)
    rendered = [reports.render(number) for number in arguments["clients"]]
    return CallResult(
        values={"links": [[r.link.number, r.link.state, r.link.label] for r in rendered]},
        files={
            reports.options.file_name(r.link.number): r.content
            for r in rendered
            if r.content is not None
        },
    )


def _report_index(context: Context, arguments: Mapping[str, Any]) -> CallResult:
    links = [LinkedReport(*row) for row in arguments["links"]]
    page = _reports_of(context, arguments).index(links)
    return CallResult(values={}, files={"index.html": page})


def _transfer(context: Context, arguments: Mapping[str, Any]) -> CallResult:
    names = transferred_names(context.settings, arguments["source"])
    # As bytes, because a zone may have a million names.
    return CallResult(values={}, files={"names": "\n".join(names).encode()})


def _live_check(context: Context, arguments: Mapping[str, Any]) -> CallResult:
    return CallResult(values=check_in_zone(context, arguments))


_HANDLERS: Mapping[CallKind, Callable[[Context, Mapping[str, Any]], CallResult]] = {
    CallKind.REPORTS: _reports,
    CallKind.REPORT_INDEX: _report_index,
    CallKind.TRANSFER: _transfer,
    CallKind.LIVE_CHECK: _live_check,
}
