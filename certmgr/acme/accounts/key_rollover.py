"""Replacement of the key of an ACME account (RFC 8555 7.3.5).

This module performs I/O. The new key is a file before the CA receives it. After a crash both keys
are tried.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from acme import jws, messages
from josepy.jwa import ES256, ES384, RS256
from josepy.jwk import JWK, JWKEC

from certmgr.acme import cas
from certmgr.acme.accounts.accounts import ACCOUNT_KEY, ROLLED_KEY_NAME
from certmgr.acme.protocol.problems import AcmeError
from certmgr.acme.protocol.responses import RawPayload
from certmgr.acme.protocol.session import AccountSession, connect, jwk, key_store, open_session
from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.x509.key_store import key_reference, local_path
from inventory.records import AccountRecord
from inventory.store import accounts

_log = logging.getLogger(__name__)


def rollover(context: Context, name: str, key_type: str = ACCOUNT_KEY) -> AccountRecord:
    """Replace the key of an account (RFC 8555 7.3.5).

    The new key is on disk before the CA receives it. The file of the old key is kept.
    """
    with context.read() as conn:
        row = accounts.find(conn, name)
    keys = key_store(context.settings)
    folder = local_path(row.key_reference).parent.name
    rolled = ROLLED_KEY_NAME.fullmatch(folder)
    # Each rollover has its own folder. The same number again after a crash finds the key of that
    # attempt.
    stem, number = (rolled[1], int(rolled[2]) + 1) if rolled else (folder, 1)
    path, new = keys.make(f"{stem}-roll{number}", key_type)
    _log.info("replacing the key of the account %s", row.name)
    # After a lost answer the CA may have the new key already. A second keyChange would fail then.
    if not _is_registered_under(context.settings, row, new):
        session = open_session(context.settings, row)
        assert row.url is not None
        inner = _key_change_jws(session, jwk(new), row.url)
        session.post(session.directory["keyChange"], RawPayload(inner))
    # The row names the new key only now. If the process dies before, the next call finds at the CA
    # which of both keys is valid.
    with context.write() as tx:
        accounts.edit(tx, row.id, key_reference=key_reference(path))
        return accounts.by_id(tx.conn, row.id)


def _is_registered_under(settings: Settings, row: AccountRecord, key: Any) -> bool:
    """Return whether the CA has this account under the given key."""
    session = connect(settings, cas.find(settings.acme, row.ca, row.directory), key)
    try:
        only = messages.NewRegistration(only_return_existing=True)
        response = session.post(session.directory["newAccount"], only)
    except AcmeError as error:
        if error.problem.type == "accountDoesNotExist":
            return False
        raise
    return bool(response.headers.get("Location") == row.url)


def _key_change_jws(session: AccountSession, new: JWK, account: str) -> dict[str, Any]:
    """Return the inner JWS of a key change: signed with the new key, without a nonce."""

    payload = json.dumps(
        {"account": account, "oldKey": session.key.public_key().to_partial_json()}
    ).encode()
    # The inner JWS is signed with the new key, which proves that we have it (RFC 8555 7.3.5).
    alg = RS256
    if isinstance(new, JWKEC):
        alg = ES384 if new.key.curve.name == "secp384r1" else ES256
    signed = jws.JWS.sign(payload, key=new, alg=alg, nonce=None, url=session.directory["keyChange"])
    return dict(signed.to_partial_json())
