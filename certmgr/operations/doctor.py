"""Checks of the set-up. Each check yields results: ok, warning or fault, why, and what to do.

The checks change nothing and send no notice.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.operations.check_result import Check, CheckResult, CheckState
from certmgr.operations.doctor_inventory import (
    audit_heads_stored,
    audit_log_chain,
    cases,
    contact_methods,
    database_file,
    lineages_and_accounts,
    notices,
    runs,
    staff,
    workers,
)
from certmgr.operations.doctor_surroundings import (
    clock,
    configuration,
    file_rights,
    inbox,
    mail_server,
    resolver_answers,
    secrets,
    spf,
    trust_rules,
)
from certmgr.operations.stopping import StopState
from inventory.db.database import Database
from inventory.db.opening import open_database
from inventory.errors import CertmgrError
from inventory.text import printable

CHECK_SECONDS = 120.0

_log = logging.getLogger(__name__)

# Remedies of errors of the operating system, whose own text names only a system call.
_TODO = {
    "mail server": "Start it, open its port, or correct [notify] mail.",
    "database": "See certmgr database check.",
}


def examine(settings: Settings, url: str, now: datetime) -> Iterator[CheckResult]:
    """Run all checks.

    A check that fails with an error yields a fault, and the other checks still run.

    Args:
        settings: The configuration.
        url: The database. It is neither created nor migrated.
        now: The current time.
    """
    database: Database | None = None
    # First, because each of the other checks depends on it.
    yield from _guarded("configuration", lambda: configuration(settings))
    try:
        # A check must not change anything, and a migration would be a change.
        database = open_database(url, migrate=False) if _exists(url) else None
    except CertmgrError as error:
        yield CheckResult(
            "database",
            CheckState.FAULT,
            error.what + (f": {error.why}" if error.why else ""),
            error.todo,
        )
    else:
        if database is None:
            yield CheckResult(
                "database",
                CheckState.WARNING,
                "there is no database yet",
                "Add a client and a domain, which creates it.",
            )
    checks: list[tuple[str, Check]] = [
        ("clock", lambda: clock(database, now)),
        ("resolver", lambda: resolver_answers(settings)),
        ("file rights", lambda: file_rights(settings)),
        ("secrets", lambda: secrets(settings)),
        ("mail server", lambda: mail_server(settings, now)),
        ("SPF", lambda: spf(settings)),
        ("inbox", lambda: inbox(settings)),
        ("trust rules", lambda: trust_rules(settings, now)),
    ]
    # Without a database, only the checks of the surroundings can run.
    if database is not None:
        opened = database
        context = Context(opened, settings, lambda: now)
        checks += [
            ("database", lambda: database_file(opened)),
            ("audit log", lambda: audit_log_chain(opened)),
            ("audit heads", lambda: audit_heads_stored(context)),
            ("staff", lambda: staff(opened)),
            ("contacts", lambda: contact_methods(context)),
            ("notices", lambda: notices(opened, now)),
            ("cases", lambda: cases(context)),
            ("ACME", lambda: lineages_and_accounts(context)),
            ("runs", lambda: runs(opened, now)),
            ("workers", lambda: workers(context)),
        ]
    for name, check in checks:
        yield from _guarded(name, check)


def _exists(url: str) -> bool:
    # Whether a server at a URL exists is only known by connecting, which the check does.
    return "://" in url or Path(url).is_file()


def _guarded(name: str, check: Check) -> Iterator[CheckResult]:
    """Run one check; an error becomes a fault."""
    _log.debug("checking: %s", name)
    stop = StopState()
    try:
        # A server may send one byte at a time, which never meets the time limit of an answer.
        with stop.budget(CHECK_SECONDS):
            found = list(check())
        yield from found
    except KeyboardInterrupt:
        if not stop.late:
            raise
        yield CheckResult(
            name,
            CheckState.FAULT,
            f"it did not end within {CHECK_SECONDS:g} seconds",
            _TODO.get(name, "Check the configuration."),
        )
    except CertmgrError as error:
        yield CheckResult(
            name, CheckState.FAULT, error.what + (f": {error.why}" if error.why else ""), error.todo
        )
    except (OSError, ssl.SSLError, smtplib.SMTPException) as error:
        yield CheckResult(
            name,
            CheckState.FAULT,
            printable(str(error) or type(error).__name__, 200),
            _TODO.get(name, "Check the configuration."),
        )
