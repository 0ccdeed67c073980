"""Checks of the ACME installation for ``certmgr doctor``: keys, references to the configuration and
recent renewal runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from certmgr.acme.orders.proof_journal import leftovers
from certmgr.acme.protocol.session import key_store
from certmgr.acme.renewal.staff_news import gather
from certmgr.config.acme import AcmeSettings
from certmgr.config.context import Context
from certmgr.x509.key_store import KeyStore, local_path
from inventory.db.database import to_epoch
from inventory.errors import CertmgrError
from inventory.records import ListedAccount, ListedLineage
from inventory.store import accounts, jobs, lineages

OK, WARNING, FAULT = "ok", "warning", "fault"
# Seconds since the last successful run: a day, and two hours of tolerance.
MAX_AGE = 26 * 3600


def examine(context: Context) -> Iterator[tuple[str, str, str]]:
    """Yield (state, finding, remedy) for each fact; for an inventory that uses ACME."""
    now = context.now()
    with context.read() as conn:
        known = accounts.listing(conn)
        rows = lineages.listing(conn, states=("active",))
        state = jobs.state(conn, "renew")
        report = gather(conn, now)
    # Preflight publishes answers without an account, too.
    for left in leftovers(context.settings):
        yield WARNING, f"{left.what} is left after its validation: {left.reason}", left.remedy
    # An inventory without ACME accounts does not use ACME, so no finding is worth a line.
    if not known:
        return
    keys = key_store(context.settings)
    for account in known:
        yield from _examine_account(keys, account)
    for row in rows:
        yield from _examine_lineage(context.settings.acme, row)
    for _, text in report.alarms:
        yield FAULT, text, "See certmgr lineage list."
    # Without lineages no renewal run is expected.
    if rows:
        yield _last_renewal(len(rows), state.success_at, to_epoch(now))


def _examine_account(keys: KeyStore, account: ListedAccount) -> Iterator[tuple[str, str, str]]:
    try:
        keys.load(local_path(account.key_reference))
    except CertmgrError as error:
        why = f": {error.why}" if error.why else ""
        yield FAULT, f"account '{account.name}': {error.what}{why}", error.todo
    if account.state == "lost":
        yield (
            FAULT,
            f"the CA does not know the account '{account.name}' any more",
            f"Run certmgr account add {account.ca} --name OTHER, then certmgr lineage"
            " edit NAME --account OTHER.",
        )


def _examine_lineage(acme: AcmeSettings, row: ListedLineage) -> Iterator[tuple[str, str, str]]:
    if row.solver not in acme.solvers:
        yield (
            FAULT,
            f"lineage '{row.name}': the configuration has no [acme.solver.{row.solver}]",
            f"Write it, or run certmgr lineage edit {row.name} --solver NAME.",
        )
    for target in row.targets:
        if target not in acme.targets:
            yield (
                FAULT,
                f"lineage '{row.name}': the configuration has no [acme.target.{target}]",
                f"Write it, or run certmgr lineage edit {row.name} --target NAME.",
            )


def _last_renewal(count: int, success: int | None, at: int) -> tuple[str, str, str]:
    if success is None:
        return (
            WARNING,
            "certmgr renew --due has never succeeded",
            "Run certmgr run, or certmgr renew --due, from cron.",
        )
    if at - success > MAX_AGE:
        hours = (at - success) // 3600
        return (
            FAULT,
            f"certmgr renew --due last succeeded {hours} hours ago",
            "Check that cron is running.",
        )
    return OK, f"{count} lineage(s), renewed {(at - success) // 60} minutes ago", ""
