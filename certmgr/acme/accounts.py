"""ACME accounts: registration, terms of service, key rollover and deactivation.

This module performs I/O.

Order of durability: the account's key is a file before the row is committed, and the row is
committed before the CA receives the registration. If the process dies in between, the account stays
``pending``. The same command then continues with the same key, and a CA that knows the key returns
the existing account. The new key of a rollover is a file in the account's folder before the CA
receives it. After a crash both keys are tried.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from acme import client, jws, messages
from cryptography.hazmat.primitives.asymmetric import rsa
from josepy.jwa import ES256, ES384, RS256
from josepy.jwk import JWK, JWKEC, JWKRSA

from certmgr.acme import cas
from certmgr.acme.cas import CertificateAuthority
from certmgr.acme.client import AcmeNetwork, CaConnection, directory_of
from certmgr.acme.problems import AcmeError
from certmgr.acme.responses import RawPayload, check_url
from certmgr.config.settings import Settings, secret
from certmgr.net.addresses import networks
from certmgr.x509.key_store import KeyStore, key_reference, local_path
from inventory.clock import Clock, system_clock
from inventory.db.database import Database
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.names import mail_address
from inventory.records import AccountRecord, ListedAccount
from inventory.store import accounts
from inventory.text import printable

ACCOUNT_KEY = "ec-p256"
ROLLED_KEY_NAME = re.compile(r"(.+)-roll(\d{1,6})")
# An account's name becomes the name of a directory: it has no dots, slashes or upper case.
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def base_directory(settings: Settings) -> Path:
    """Return the directory for the keys, versions and locks of ACME."""
    if settings.acme.directory:
        return Path(settings.acme.directory)

    return Path(platformdirs.user_data_dir("certmgr")) / "acme"


def key_store(settings: Settings) -> KeyStore:
    """Return the store for the keys of accounts and orders."""
    return KeyStore(base_directory(settings) / "keys", lambda: secret(settings.cases.passphrase))


def connection_for(settings: Settings, ca: CertificateAuthority) -> CaConnection:
    """Return the connection settings of a CA."""
    return CaConnection(
        ca.ca_file,
        ca.internal,
        networks(settings.network.allow, "[network] allow"),
        max(settings.acme.at_once, 4),
    )


def jwk(key: Any) -> JWK:
    """Return a private key as a JSON Web Key."""
    return JWKRSA(key=key) if isinstance(key, rsa.RSAPrivateKey) else JWKEC(key=key)


@dataclass(slots=True)
class AccountSession:
    """An account with an open connection to its CA.

    Attributes:
        row: The account as it is stored; None before registration.
        ca: The CA.
        net: The connection.
        directory: The directory object of the CA (RFC 8555 7.1.1).
        acme: The client of the ``acme`` library over the same connection.
    """

    row: AccountRecord | None
    ca: CertificateAuthority
    net: AcmeNetwork
    directory: messages.Directory
    acme: client.ClientV2

    @property
    def account(self) -> AccountRecord:
        """The account, which is registered."""
        assert self.row is not None
        return self.row

    @property
    def url(self) -> str:
        """The URL of a registered account."""
        assert self.account.url is not None
        return self.account.url

    @property
    def key(self) -> JWK:
        """The account key."""
        key: Any = self.net.key
        return key  # type: ignore[no-any-return]

    @property
    def profiles(self) -> dict[str, str]:
        """The CA's profiles: name -> description."""
        profiles = getattr(self.directory["meta"], "profiles", None) or {}
        return {
            printable(str(k), 60): printable(str(v), 200)
            for k, v in list(dict(profiles).items())[:50]
        }

    @property
    def caa(self) -> tuple[str, ...]:
        """The CA's names in CAA records: from its directory, else from the table of known CAs."""
        identities = getattr(self.directory["meta"], "caa_identities", None) or ()
        return tuple(printable(str(i), 253).lower() for i in list(identities)[:20]) or self.ca.caa


def connect(
    settings: Settings,
    ca: CertificateAuthority,
    key: Any,
    url: str | None = None,
    clock: Clock = system_clock,
) -> AccountSession:
    """Connect to a CA and fetch its directory.

    Args:
        settings: The configuration.
        ca: The CA.
        key: The private key that signs requests.
        url: The URL of the account; None before registration.
        clock: The current time, for Retry-After dates.

    Raises:
        AcmeError: The CA does not answer, or its answer is not a directory.
    """
    net = AcmeNetwork(connection_for(settings, ca), jwk(key), clock=clock)
    directory = directory_of(net, ca.directory)
    if url:
        net.account = messages.RegistrationResource(uri=url, body=messages.Registration())
    return AccountSession(None, ca, net, directory, client.ClientV2(directory, net))


def open_session(
    settings: Settings, row: AccountRecord, clock: Clock = system_clock
) -> AccountSession:
    """Connect to the CA of a registered account.

    Raises:
        CertmgrError: The account is not active, its key cannot be read, or the CA does not answer.
    """
    if row.state != "active":
        raise CertmgrError(f"The ACME account '{row.name}' is {row.state}", "", _remedy(row))
    ca = cas.find(settings.acme, row.ca, row.directory)
    session = connect(
        settings, ca, key_store(settings).load(local_path(row.key_reference)), row.url, clock
    )
    session.row = row
    return session


def _remedy(row: AccountRecord) -> str:
    again = f"Run certmgr account add {row.ca} --name {row.name} to complete it."
    return (
        again
        if row.state == "pending"
        else "Name another account with --account, or create one: certmgr account add."
    )


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


def add(database: Database, settings: Settings, request: AccountRequest) -> AccountRecord:
    """Register an account, or complete a registration that was interrupted.

    Returns:
        The row of the account.

    Raises:
        UsageError: The name is invalid, the terms are not agreed to, or the external account
            binding is missing.
        Conflict: There is another account of this name.
        AcmeError: The CA refuses the registration.
    """
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
    ca = cas.find(settings.acme, request.ca, request.directory)
    contacts = tuple(mail_address(c) for c in request.contacts)
    row = _pending_account(database, request, ca)
    keys = key_store(settings)
    path, key = (
        keys.make(f"account-{request.name}", request.key_type)
        if row is None
        else _key_of(keys, row)
    )
    # The connection comes before the row: a wrong directory URL leaves only an unused key.
    session = connect(settings, ca, key)
    terms = _terms(session)
    # Agreement is a legal act of the administrator, so it is never given implicitly.
    if terms and not request.agree:
        raise UsageError(
            f"{ca.title} requires agreement to its terms of service",
            terms,
            "Read them, then give --agree.",
        )
    binding = _binding(session, ca, request)
    with database.write() as tx:
        values: dict[str, Any] = {
            "contacts": " ".join(contacts),
            "eab_kid": request.eab_kid or None,
            "terms": terms or None,
        }
        values |= {
            "agreed_at": tx.at if terms else None,
            "agreed_by": request.by if terms else None,
        }
        values["fallback_id"] = (
            accounts.find(tx.conn, request.fallback).id if request.fallback else None
        )
        if row is None:
            new_row = {
                "name": request.name,
                "ca": ca.name,
                "directory": ca.directory,
                "key_reference": key_reference(path),
                **values,
            }
            account_id = accounts.add(tx, new_row)
        else:
            account_id = row.id
            accounts.edit(tx, account_id, **values)
    url = _register(session, contacts, binding, bool(terms))
    with database.write() as tx:
        accounts.edit(tx, account_id, url=url, state="active")
        return accounts.by_id(tx.conn, account_id)


def _pending_account(
    database: Database, request: AccountRequest, ca: CertificateAuthority
) -> ListedAccount | None:
    """Return the account of this name whose registration was interrupted, or None."""
    with database.read() as conn:
        rows = [r for r in accounts.listing(conn, retired=True) if r.name == request.name]
    if not rows:
        return None
    # Only an interrupted registration at the same CA is completed; another account is not changed.
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
    if not (request.eab_kid and request.eab_key):
        if needed:
            where = f"Get both at {ca.eab_where}." if ca.eab_where else "Get both from the CA."
            raise UsageError(
                f"{ca.title} requires an external account binding",
                "",
                f"{where} Give --eab-kid ID and --eab-key env:NAME or file:PATH.",
            )
        return None
    try:
        # Only the public half of the key is bound: the payload would disclose the private half.
        return dict(
            messages.ExternalAccountBinding.from_data(
                session.key.public_key(),
                request.eab_kid,
                secret(request.eab_key),
                session.directory,
            )
        )
    except (ValueError, TypeError):
        raise UsageError(
            "The key of the external account binding cannot be read",
            "it must be base64url, as the CA shows it",
            "Copy it again.",
        ) from None


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
    response = session.net.post(
        session.directory["newAccount"], new, new_nonce_url=session.directory["newNonce"]
    )
    url = check_url(response.headers.get("Location"))
    session.net.account = messages.RegistrationResource(uri=url, body=messages.Registration())
    return url


def fetch_account(settings: Settings, row: AccountRecord) -> dict[str, Any]:
    """Return the CA's record of an account: ``status``, ``contact`` and ``orders``.

    Raises:
        AcmeError: The CA does not answer, or does not know the account.
    """
    session = open_session(settings, row)
    document = session.acme._post_as_get(row.url).json()
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


def agree(database: Database, settings: Settings, name: str, by: str) -> str:
    """Agree to the CA's current terms of service and return their URL."""
    with database.read() as conn:
        row = accounts.find(conn, name)
    session = open_session(settings, row)
    terms = _terms(session)
    session.acme._post(row.url, RawPayload({"termsOfServiceAgreed": True}))
    with database.write() as tx:
        accounts.edit(tx, row.id, terms=terms or None, agreed_at=tx.at, agreed_by=by)
    return terms


def rollover(
    database: Database, settings: Settings, name: str, key_type: str = ACCOUNT_KEY
) -> AccountRecord:
    """Replace the key of an account (RFC 8555 7.3.5).

    The new key is on disk before the CA receives it. The file of the old key is kept.
    """
    with database.read() as conn:
        row = accounts.find(conn, name)
    keys = key_store(settings)
    folder = local_path(row.key_reference).parent.name
    rolled = ROLLED_KEY_NAME.fullmatch(folder)
    stem, number = (rolled[1], int(rolled[2]) + 1) if rolled else (folder, 1)
    path, new = keys.make(f"{stem}-roll{number}", key_type)
    # After a lost answer the CA may have the new key already. A second keyChange would fail then.
    if not _is_registered_under(settings, row, new):
        session = open_session(settings, row)
        assert row.url is not None
        inner = _key_change_jws(session, jwk(new), row.url)
        session.acme._post(session.directory["keyChange"], RawPayload(inner))
    with database.write() as tx:
        accounts.edit(tx, row.id, key_reference=key_reference(path))
        return accounts.by_id(tx.conn, row.id)


def _is_registered_under(settings: Settings, row: AccountRecord, key: Any) -> bool:
    """Return whether the CA has this account under the given key."""
    session = connect(settings, cas.find(settings.acme, row.ca, row.directory), key)
    try:
        only = messages.NewRegistration(only_return_existing=True)
        response = session.net.post(
            session.directory["newAccount"], only, new_nonce_url=session.directory["newNonce"]
        )
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
    alg = RS256
    if isinstance(new, JWKEC):
        alg = ES384 if new.key.curve.name == "secp384r1" else ES256
    signed = jws.JWS.sign(payload, key=new, alg=alg, nonce=None, url=session.directory["keyChange"])
    return dict(signed.to_partial_json())


def deactivate(database: Database, settings: Settings, name: str) -> AccountRecord:
    """Deactivate an account at the CA for good, and retire it in the inventory.

    Raises:
        Conflict: Lineages use the account.
        AcmeError: The CA does not answer, or refuses.
    """
    with database.read() as conn:
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
        session = open_session(settings, row)
        session.acme._post(row.url, RawPayload({"status": "deactivated"}))
    with database.write() as tx:
        accounts.edit(tx, row.id, state="retired", retired_at=tx.at)
        return accounts.by_id(tx.conn, row.id)
