"""ACME accounts: made, shown, agreed, moved to another key, ended.

An edge.

Order of durability: the account's key is a file before the row is committed, the row before the CA
hears of the account. A death in between leaves an account that is `pending`; the same command goes
on with the same key, and a CA that knows the key answers with the account that it has. A new key of
a rollover is a file, and named in the account's folder, before the CA hears of it; after a death
both keys are tried.
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
from certmgr.acme.responses import RawPayload, checked
from certmgr.config.settings import Settings, secret
from certmgr.net.addresses import networks
from certmgr.x509.key_store import KeyStore, key_reference, local_path
from inventory.clock import Clock, system_clock
from inventory.db.database import Database
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.names import mail_address
from inventory.store import accounts
from inventory.store.records import Row
from inventory.text import printable

ACCOUNT_KEY = "ec-p256"
ROLLED = re.compile(r"(.+)-roll(\d{1,6})")
WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def base_directory(settings: Settings) -> Path:
    """Where keys, versions and locks of ACME live."""
    if settings.acme.directory:
        return Path(settings.acme.directory)

    return Path(platformdirs.user_data_dir("certmgr")) / "acme"


def key_store(settings: Settings) -> KeyStore:
    """Of accounts and orders."""
    return KeyStore(base_directory(settings) / "keys", lambda: secret(settings.cases.passphrase))


def line(settings: Settings, ca: CertificateAuthority) -> CaConnection:
    return CaConnection(
        ca.ca_file,
        ca.internal,
        networks(settings.network.allow, "[network] allow"),
        max(settings.acme.at_once, 4),
    )


def jwk(key: Any) -> JWK:
    return JWKRSA(key=key) if isinstance(key, rsa.RSAPrivateKey) else JWKEC(key=key)


@dataclass(slots=True)
class AccountSession:
    """An account at its CA, ready to order."""

    row: Row
    ca: CertificateAuthority
    net: AcmeNetwork
    directory: messages.Directory
    acme: client.ClientV2

    @property
    def key(self) -> JWK:
        key: Any = self.net.key
        return key  # type: ignore[no-any-return]

    @property
    def profiles(self) -> dict[str, str]:
        """Name -> what the CA says of it."""
        found = getattr(self.directory["meta"], "profiles", None) or {}
        return {
            printable(str(k), 60): printable(str(v), 200) for k, v in list(dict(found).items())[:50]
        }

    @property
    def caa(self) -> tuple[str, ...]:
        """What stands for the CA in CAA records: what its directory says, else what is known."""
        said = getattr(self.directory["meta"], "caa_identities", None) or ()
        return tuple(printable(str(i), 253).lower() for i in list(said)[:20]) or self.ca.caa


def connect(
    settings: Settings,
    ca: CertificateAuthority,
    key: Any,
    url: str | None = None,
    clock: Clock = system_clock,
) -> AccountSession:
    """Asks the directory. ``url``: of the account, None for one that is yet to be made."""
    net = AcmeNetwork(line(settings, ca), jwk(key), clock=clock)
    directory = directory_of(net, ca.directory)
    if url:
        net.account = messages.RegistrationResource(uri=url, body=messages.Registration())
    return AccountSession({}, ca, net, directory, client.ClientV2(directory, net))


def open_session(settings: Settings, row: Row, clock: Clock = system_clock) -> AccountSession:
    """Raises :class:`CertmgrError` where the account cannot be used."""
    if row["state"] != "active":
        raise CertmgrError(f"The ACME account '{row['name']}' is {row['state']}", "", _todo(row))
    ca = cas.find(settings.acme, row["ca"], row["directory"])
    session = connect(
        settings, ca, key_store(settings).load(local_path(row["key_reference"])), row["url"], clock
    )
    session.row = row
    return session


def _todo(row: Row) -> str:
    again = f"certmgr account add {row['ca']} --name {row['name']} goes on with it."
    return (
        again
        if row["state"] == "pending"
        else "Name another one with --account, or make one: certmgr account add."
    )


@dataclass(frozen=True, slots=True)
class AccountRequest:
    """What ``account add`` was told.

    ``eab_key``: the HMAC key, base64url, or where it is (env:NAME, file:PATH). ``agree``: to the
    terms of service.
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


def add(database: Database, settings: Settings, wanted: AccountRequest) -> Row:
    """A new account, or the one that was begun.

    Raises :class:`UsageError` where something is missing: the terms, the binding.
    """
    if not WORD.fullmatch(wanted.name) or ROLLED.fullmatch(wanted.name):
        raise UsageError(
            f"An account cannot be called '{printable(wanted.name, 60)}'",
            "a name has lower-case letters, digits and -",
            "Give --name.",
        )
    if bool(wanted.eab_kid) != bool(wanted.eab_key):
        raise UsageError(
            "Half of an external account binding was given",
            "it has an id and a key",
            "Give --eab-kid ID and --eab-key env:NAME or file:PATH.",
        )
    ca = cas.find(settings.acme, wanted.ca, wanted.directory)
    contacts = tuple(mail_address(c) for c in wanted.contacts)
    row = _begun(database, wanted, ca)
    keys = key_store(settings)
    path, key = (
        keys.make(f"account-{wanted.name}", wanted.key_type) if row is None else _key_of(keys, row)
    )
    session = connect(
        settings, ca, key
    )  # before anything is recorded: a wrong URL leaves nothing but a key
    terms = _terms(session)
    if terms and not wanted.agree:
        raise UsageError(
            f"{ca.title} asks you to agree to its terms of service",
            terms,
            "Read them, then give --agree.",
        )
    binding = _binding(session, ca, wanted)
    with database.write() as tx:
        values: dict[str, Any] = {
            "contacts": " ".join(contacts),
            "eab_kid": wanted.eab_kid or None,
            "terms": terms or None,
        }
        values |= {"agreed_at": tx.at if terms else None, "agreed_by": wanted.by if terms else None}
        values["fallback_id"] = (
            accounts.find(tx.conn, wanted.fallback)["id"] if wanted.fallback else None
        )
        if row is None:
            made = {
                "name": wanted.name,
                "ca": ca.name,
                "directory": ca.directory,
                "key_reference": key_reference(path),
                **values,
            }
            row = accounts.by_id(tx.conn, accounts.add(tx, made))
        else:
            accounts.edit(tx, row["id"], **values)
    url = _register(session, contacts, binding, bool(terms))
    with database.write() as tx:
        accounts.edit(tx, row["id"], url=url, state="active")
        return accounts.by_id(tx.conn, row["id"])


def _begun(database: Database, wanted: AccountRequest, ca: CertificateAuthority) -> Row | None:
    with database.read() as conn:
        rows = [r for r in accounts.listing(conn, retired=True) if r["name"] == wanted.name]
    if not rows:
        return None
    if rows[0]["state"] != "pending" or rows[0]["directory"] != ca.directory:
        raise Conflict(
            f"There is an ACME account '{wanted.name}' already",
            f"it is {rows[0]['state']}, at {rows[0]['ca']}",
            "Give --name for another one.",
        )
    return rows[0]


def _key_of(keys: KeyStore, row: Row) -> tuple[Path, Any]:
    path = local_path(row["key_reference"])
    return path, keys.load(path)


def _terms(session: AccountSession) -> str:
    return printable(getattr(session.directory["meta"], "terms_of_service", None) or "", 500)


def _binding(
    session: AccountSession, ca: CertificateAuthority, wanted: AccountRequest
) -> dict[str, Any] | None:
    needed = ca.eab or bool(getattr(session.directory["meta"], "external_account_required", False))
    if not (wanted.eab_kid and wanted.eab_key):
        if needed:
            where = (
                f"You get both at {ca.eab_where}." if ca.eab_where else "You get both from the CA."
            )
            raise UsageError(
                f"{ca.title} wants an external account binding",
                "",
                f"{where} Give --eab-kid ID and --eab-key env:NAME or file:PATH.",
            )
        return None
    try:
        # The public half only: the private one would stand in the payload.
        return dict(
            messages.ExternalAccountBinding.from_data(
                session.key.public_key(), wanted.eab_kid, secret(wanted.eab_key), session.directory
            )
        )
    except (ValueError, TypeError):
        raise UsageError(
            "The key of the external account binding cannot be read",
            "it is base64url as the CA shows it",
            "Copy it again.",
        ) from None


def _register(
    session: AccountSession, contacts: tuple[str, ...], binding: dict[str, Any] | None, agreed: bool
) -> str:
    """The account's URL.

    A CA that knows the key answers with the account that it has (RFC 8555 7.3.1).
    """
    new = messages.NewRegistration.from_data(
        contact=tuple(f"mailto:{c}" for c in contacts),
        terms_of_service_agreed=agreed or None,
        external_account_binding=binding,
    )
    response = session.net.post(
        session.directory["newAccount"], new, new_nonce_url=session.directory["newNonce"]
    )
    url = checked(response.headers.get("Location"))
    session.net.account = messages.RegistrationResource(uri=url, body=messages.Registration())
    return url


def look_up(settings: Settings, row: Row) -> dict[str, Any]:
    """What the CA says of the account: ``status``, ``contact``, ``orders``.

    Raises :class:`AcmeError`.
    """
    session = open_session(settings, row)
    document = session.acme._post_as_get(row["url"]).json()
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
    """To the terms that the CA has now; their URL."""
    with database.read() as conn:
        row = accounts.find(conn, name)
    session = open_session(settings, row)
    terms = _terms(session)
    session.acme._post(row["url"], RawPayload({"termsOfServiceAgreed": True}))
    with database.write() as tx:
        accounts.edit(tx, row["id"], terms=terms or None, agreed_at=tx.at, agreed_by=by)
    return terms


def rollover(database: Database, settings: Settings, name: str, key_type: str = ACCOUNT_KEY) -> Row:
    """A new account key (RFC 8555 7.3.5).

    Durable before the CA hears of it; the old one is kept as a file.
    """
    with database.read() as conn:
        row = accounts.find(conn, name)
    keys = key_store(settings)
    folder = local_path(row["key_reference"]).parent.name
    rolled = ROLLED.fullmatch(folder)
    stem, number = (rolled[1], int(rolled[2]) + 1) if rolled else (folder, 1)
    path, new = keys.make(f"{stem}-roll{number}", key_type)
    if not _knows(settings, row, new):
        session = open_session(settings, row)
        inner = _inner(session, jwk(new), row["url"])
        session.acme._post(session.directory["keyChange"], RawPayload(inner))
    with database.write() as tx:
        accounts.edit(tx, row["id"], key_reference=key_reference(path))
        return accounts.by_id(tx.conn, row["id"])


def _knows(settings: Settings, row: Row, key: Any) -> bool:
    """Whether the CA has this account under this key already: a rollover whose answer was lost."""
    session = connect(settings, cas.find(settings.acme, row["ca"], row["directory"]), key)
    try:
        only = messages.NewRegistration(only_return_existing=True)
        response = session.net.post(
            session.directory["newAccount"], only, new_nonce_url=session.directory["newNonce"]
        )
    except AcmeError as error:
        if error.problem.type == "accountDoesNotExist":
            return False
        raise
    return bool(response.headers.get("Location") == row["url"])


def _inner(session: AccountSession, new: JWK, account: str) -> dict[str, Any]:
    """The inner JWS of a key change, signed with the new key, without a nonce."""

    payload = json.dumps(
        {"account": account, "oldKey": session.key.public_key().to_partial_json()}
    ).encode()
    alg = RS256
    if isinstance(new, JWKEC):
        alg = ES384 if new.key.curve.name == "secp384r1" else ES256
    signed = jws.JWS.sign(payload, key=new, alg=alg, nonce=None, url=session.directory["keyChange"])
    return dict(signed.to_partial_json())


def deactivate(database: Database, settings: Settings, name: str) -> Row:
    """For good: the CA forgets the account, and what it renewed is renewed no more.

    Raises :class:`Conflict` while lineages use it.
    """
    with database.read() as conn:
        row = accounts.find(conn, name)
        used = next(
            r["lineages"] for r in accounts.listing(conn, retired=True) if r["id"] == row["id"]
        )
    if used:
        raise Conflict(
            f"{used} certificate(s) are renewed through '{row['name']}'",
            "",
            "Move them first: certmgr lineage edit NAME --account OTHER.",
        )
    if row["state"] == "active":
        session = open_session(settings, row)
        session.acme._post(row["url"], RawPayload({"status": "deactivated"}))
    with database.write() as tx:
        accounts.edit(tx, row["id"], state="retired", retired_at=tx.at)
        return accounts.by_id(tx.conn, row["id"])
