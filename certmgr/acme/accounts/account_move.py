"""An account whose CA moved its ACME directory to another URL.

This module performs I/O.

The CA at the new URL confirms that it knows the account by its key (RFC 8555 7.3.1) before the
inventory changes: a mistyped URL, or another CA, leaves the account as it is.
"""

from __future__ import annotations

import logging

from acme import messages

from certmgr.acme import cas
from certmgr.acme.protocol.problems import AcmeError
from certmgr.acme.protocol.responses import location
from certmgr.acme.protocol.session import connect, key_store
from certmgr.config.context import Context
from certmgr.x509.key_store import local_path
from inventory.errors import Conflict, UsageError
from inventory.records import AccountRecord
from inventory.store import accounts

_log = logging.getLogger(__name__)


def move(context: Context, name: str, directory: str) -> AccountRecord:
    """Use an account at another directory URL of its CA.

    Returns:
        The account, with the directory and the URL that the CA has now.

    Raises:
        UsageError: The URL is invalid, or the CA there does not know the account.
        Conflict: The account was never registered, or is retired.
        AcmeError: The CA does not answer.
    """
    with context.read() as conn:
        row = accounts.find(conn, name)
    if row.state not in ("active", "lost"):
        raise Conflict(
            f"The ACME account '{row.name}' is {row.state}",
            "only an account that its CA knows can move with it",
            "Register one: certmgr account add CA --directory URL.",
        )
    acme = context.settings.acme
    directory = cas.check_directory_url(directory)
    # A CA that was renamed in the configuration has its settings, such as ca_file, under its name.
    known = next((c for c in cas.all_cas(acme).values() if c.directory == directory), None)
    ca = known or cas.find(acme, row.ca, directory)
    session = connect(
        context.settings, ca, key_store(context.settings).load(local_path(row.key_reference))
    )
    only = messages.NewRegistration(only_return_existing=True)
    try:
        url = location(session.post(session.directory["newAccount"], only))
    except AcmeError as error:
        if error.problem.type != "accountDoesNotExist":
            raise
        raise UsageError(
            f"The CA at {directory} does not know the account '{row.name}'",
            "it has no account with this key",
            "Check the URL. At another CA, register another account: certmgr account add.",
        ) from None
    _log.info("the account %s is at %s now", row.name, directory)
    with context.write() as tx:
        accounts.edit(tx, row.id, directory=directory, ca=ca.name, url=url, state="active")
        return accounts.by_id(tx.conn, row.id)
