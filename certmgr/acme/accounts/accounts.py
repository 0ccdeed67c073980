"""ACME accounts: registration, terms of service, key rollover and deactivation.

This module performs I/O.

Order of durability: the account's key is a file before the row is committed, and the row is
committed before the CA receives the registration. If the process dies in between, the account stays
``pending``. The same command then continues with the same key, and a CA that knows the key returns
the existing account. The new key of a rollover is a file in the account's folder before the CA
receives it. After a crash both keys are tried.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acme import messages

from certmgr.acme import cas
from certmgr.acme.accounts.account_binding import hmac_key
from certmgr.acme.cas import CertificateAuthority
from certmgr.acme.protocol.problems import AcmeError, NextAction
from certmgr.acme.protocol.responses import RawPayload, location
from certmgr.acme.protocol.session import AccountSession, connect, key_store, open_session
from certmgr.config.context import Context
from certmgr.config.secret_values import secret
from certmgr.config.settings import Settings
from certmgr.x509.key_store import KeyStore, key_reference, local_path
from inventory.db.database import Database
from inventory.errors import Conflict, UsageError
from inventory.names import mail_address
from inventory.records import AccountRecord, ListedAccount
from inventory.store import accounts
from inventory.text import printable

_log = logging.getLogger(__name__)

# RFC 8555 6.2: every server must support ES256. An RSA account key makes each request larger.
ACCOUNT_KEY = "ec-p256"
ROLLED_KEY_NAME = re.compile(r"(.+)-roll(\d{1,6})")
# An account's name becomes the name of a directory: it has no dots, slashes or upper case.
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class AccountRequest:
    """The arguments of ``certmgr account add``.

    Attributes:
        ca: The name of the CA.
        name: The name of the account in the inventory.
        directory: The directory URL; empty for the CA's usual one.
        contacts: Mail addresses for the CA.
        eab_kid: The key id of the external account binding.
        eab_key: The HMAC key in base64url, or its location (env:NAME, file:PATH).
        agree: Whether the administrator agrees to the terms of service.
        fallback: The account that is used if this one's CA is unavailable.
        key_type: The type of the account key.
        by: The user who agrees to the terms, for the records.
    """

    ca: str
    name: str
    directory: str = ""
    contacts: tuple[str, ...] = ()
    eab_kid: str = ""
    eab_key: str = ""
    agree: bool = False
    fallback: str = ""
    key_type: str = ACCOUNT_KEY
    by: str = ""


def add(context: Context, request: AccountRequest) -> AccountRecord:
    """Register an account, or complete a registration that was interrupted.

    Returns:
        The row of the account.

    Raises:
        UsageError: The name is invalid, the terms are not agreed to, or the external account
            binding is missing.
        Conflict: There is another account of this name.
        AcmeError: The CA refuses the registration.
    """
    # Everything that can be refused here is refused before a key is made or the CA is asked.
    _require_valid(request)
    ca = cas.find(context.settings.acme, request.ca, request.directory)
    contacts = tuple(mail_address(c) for c in request.contacts)
    row = _pending_account(context.database, request, ca)
    keys = key_store(context.settings)
    path, key = (
        keys.make(f"account-{request.name}", request.key_type)
        if row is None
        else _key_of(keys, row)
    )
    # The connection comes before the row: a wrong directory URL leaves only an unused key.
    session = connect(context.settings, ca, key)
    terms = _terms(session)
    # Agreement is a legal act of the administrator, so it is never given implicitly.
    if terms and not request.agree:
        raise UsageError(
            f"{ca.title} requires agreement to its terms of service",
            terms,
            "Read them, then give --agree.",
        )
    binding = _binding(session, ca, request)
    account_id = _record_pending(context, request, ca, row, key_reference(path), terms)
    _log.info("registering the account %s at %s", request.name, ca.directory)
    # From here on the CA may know the account: after a crash, the same command completes it.
    url = _register(session, contacts, binding, bool(terms))
    with context.write() as tx:
        accounts.edit(tx, account_id, url=url, state="active")
        return accounts.by_id(tx.conn, account_id)


def _require_valid(request: AccountRequest) -> None:
    if not NAME_PATTERN.fullmatch(request.name) or ROLLED_KEY_NAME.fullmatch(request.name):
        raise UsageError(
            f"An account cannot be called '{printable(request.name, 60)}'",
            "a name has lower-case letters, digits and -",
            "Give another name with --name.",
        )
    if bool(request.eab_kid) != bool(request.eab_key):
        raise UsageError(
            "The external account binding is incomplete",
            "it has an id and a key",
            "Give --eab-kid ID and --eab-key env:NAME or file:PATH.",
        )


def _record_pending(
    context: Context,
    request: AccountRequest,
    ca: CertificateAuthority,
    row: ListedAccount | None,
    reference: str,
    terms: str,
) -> int:
    """Record the account before the CA receives its registration, and return its id."""
    contacts = tuple(mail_address(c) for c in request.contacts)
    with context.write() as tx:
        fallback = accounts.find(tx.conn, request.fallback).id if request.fallback else None
        values: dict[str, Any] = {
            "contacts": tuple(contacts),
            "eab_kid": request.eab_kid or None,
            "terms": terms or None,
            "agreed_at": tx.at if terms else None,
            "agreed_by": request.by if terms else None,
            "fallback_id": fallback,
        }
        # An interrupted registration keeps its key, since the CA may know it already.
        if row is not None:
            accounts.edit(tx, row.id, **values)
            return row.id
        new_row = {
            "name": request.name,
            "ca": ca.name,
            "directory": ca.directory,
            "key_reference": reference,
        }
        return accounts.add(tx, new_row | values)


def _pending_account(
    database: Database, request: AccountRequest, ca: CertificateAuthority
) -> ListedAccount | None:
    """Return the account of this name whose registration was interrupted, or None."""
    with database.read() as conn:
        rows = [r for r in accounts.listing(conn, retired=True) if r.name == request.name]
    if not rows:
        return None
    # Only an interrupted registration at the same CA is completed; another account is not changed.
    # The key of a pending account may be known to its CA. At another CA it would be a second
    # account.
    if rows[0].state != "pending" or rows[0].directory != ca.directory:
        raise Conflict(
            f"There is already an ACME account '{request.name}'",
            f"it is {rows[0].state}, at {rows[0].ca}",
            "Give another name with --name.",
        )
    return rows[0]


def _key_of(keys: KeyStore, row: ListedAccount) -> tuple[Path, Any]:
    path = local_path(row.key_reference)
    return path, keys.load(path)


def _terms(session: AccountSession) -> str:
    return printable(getattr(session.directory["meta"], "terms_of_service", None) or "", 500)


def _binding(
    session: AccountSession, ca: CertificateAuthority, request: AccountRequest
) -> dict[str, Any] | None:
    """Return the external account binding (RFC 8555 7.3.4), or None if none was given."""
    needed = ca.eab or bool(getattr(session.directory["meta"], "external_account_required", False))
    # A CA without the requirement ignores the binding, so that one which was not given is no fault.
    if not (request.eab_kid and request.eab_key):
        if needed:
            where = f"Get both at {ca.eab_where}." if ca.eab_where else "Get both from the CA."
            raise UsageError(
                f"{ca.title} requires an external account binding",
                "",
                f"{where} Give --eab-kid ID and --eab-key env:NAME or file:PATH.",
            )
        return None
    # Only the public half of the key is bound: the payload would disclose the private half.
    return dict(
        messages.ExternalAccountBinding.from_data(
            session.key.public_key(),
            request.eab_kid,
            hmac_key(secret(request.eab_key)),
            session.directory,
        )
    )


def _register(
    session: AccountSession, contacts: tuple[str, ...], binding: dict[str, Any] | None, agreed: bool
) -> str:
    """Register the key at the CA and return the account's URL.

    A CA that knows the key returns the existing account (RFC 8555 7.3.1).
    """
    new = messages.NewRegistration.from_data(
        contact=tuple(f"mailto:{c}" for c in contacts),
        terms_of_service_agreed=agreed or None,
        external_account_binding=binding,
    )
    try:
        response = session.post(session.directory["newAccount"], new)
    except AcmeError as error:
        raise _with_binding_remedy(error, binding) from None
    url = location(response)
    # From here on requests name the account by its URL (kid) instead of the whole key (RFC 8555
    # 6.2).
    session.net.account = messages.RegistrationResource(uri=url, body=messages.Registration())
    return url


def _with_binding_remedy(error: AcmeError, binding: dict[str, Any] | None) -> AcmeError:
    """Return a refused registration with what an administrator does about its binding."""
    problem = error.problem
    # Some CAs state the requirement only here, and not in their directory.
    if binding is None and problem.type == "externalAccountRequired":
        todo = "Get an id and a key from the CA, then give --eab-kid ID and --eab-key env:NAME."
    # CAs report a wrong, used or expired binding with different types.
    elif binding is not None and problem.next_action not in (
        NextAction.BACK_OFF,
        NextAction.RETRY,
        NextAction.TERMS,
    ):
        todo = (
            "Check the id and the key of the external account binding. Many CAs accept each pair"
            " once and for some days only: get a new pair if this one was used, then repeat the"
            " command."
        )
    else:
        return error
    return AcmeError(error.what, problem, todo, error.location)


def fetch_account(settings: Settings, row: AccountRecord) -> dict[str, Any]:
    """Return the CA's record of an account: ``status``, ``contact`` and ``orders``.

    Raises:
        AcmeError: The CA does not answer, or does not know the account.
    """
    session = open_session(settings, row)
    document = session.post(session.url).json()
    # The account is shown to a person: an unreadable answer is an unknown state, and not an error.
    if not isinstance(document, dict):
        return {"status": "unknown", "contact": []}
    contact = document.get("contact")
    return {
        "status": printable(str(document.get("status", "unknown")), 30),
        "orders": document.get("orders"),
        "contact": (
            [printable(str(c), 200) for c in contact[:20]] if isinstance(contact, list) else []
        ),
    }


def agree(context: Context, name: str, by: str) -> str:
    """Agree to the CA's current terms of service and return their URL."""
    with context.read() as conn:
        row = accounts.find(conn, name)
    session = open_session(context.settings, row)
    terms = _terms(session)
    # The CA knows of the agreement before it is recorded: a record without an agreement would be
    # false evidence, and a repeated agreement does no harm.
    session.post(session.url, RawPayload({"termsOfServiceAgreed": True}))
    with context.write() as tx:
        accounts.edit(tx, row.id, terms=terms or None, agreed_at=tx.at, agreed_by=by)
    return terms


def deactivate(context: Context, name: str) -> AccountRecord:
    """Deactivate an account at the CA for good, and retire it in the inventory.

    Raises:
        Conflict: Lineages use the account.
        AcmeError: The CA does not answer, or refuses.
    """
    with context.read() as conn:
        row = accounts.find(conn, name)
        used = next(r.lineages for r in accounts.listing(conn, retired=True) if r.id == row.id)
    # Without its account a lineage could not be renewed any more.
    if used:
        raise Conflict(
            f"{used} certificate(s) are renewed through '{row.name}'",
            "",
            "Move them first: certmgr lineage edit NAME --account OTHER.",
        )
    # A pending or lost account has no usable record at the CA: it is only retired here.
    if row.state == "active":
        _log.info("deactivating the account %s", row.name)
        session = open_session(context.settings, row)
        # It cannot be undone (RFC 8555 7.3.6). The CA comes first: a row that was retired before a
        # refused request would hide an account that still works.
        session.post(session.url, RawPayload({"status": "deactivated"}))
    with context.write() as tx:
        accounts.edit(tx, row.id, state="retired", retired_at=tx.at)
        return accounts.by_id(tx.conn, row.id)
