"""The rows of what is taken over from another client: accounts, certificates and lineages.

This module performs I/O. The keys of accounts are files before the rows are written; all rows of a
takeover are written in one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlsplit

from sqlalchemy import Connection

from certmgr.acme import cas
from certmgr.acme.protocol.session import key_store
from certmgr.config.checks import KEY_TYPES
from certmgr.config.context import Context
from certmgr.deploy.client_model import ClientAccount, ClientLineage
from certmgr.inspection.report import certificate_row
from certmgr.x509.key_store import key_reference
from certmgr.x509.private_keys import load_pem
from inventory.certificate_fields import describe_key
from inventory.db.database import Tx
from inventory.errors import CertmgrError, Conflict
from inventory.names import normalise_host
from inventory.records import AccountRecord
from inventory.store import accounts, certificates, clients, domain_owners, lineages
from inventory.text import printable


@dataclass(frozen=True, slots=True)
class AccountToRecord:
    """An account of another client whose key is stored.

    Attributes:
        account: The account.
        name: Its name in the inventory.
        ca: The name of its CA.
        key_reference: The reference of the stored key; empty if the account is recorded already.
    """

    account: ClientAccount
    name: str
    ca: str
    key_reference: str = ""


def resolve_account(
    context: Context, account: ClientAccount, lineage: ClientLineage
) -> ClientAccount:
    """Return an account with the directory URL of its CA.

    A client may record it per lineage, or only the host of the CA: then the known CA of that host
    is taken.
    """
    if account.directory_url:
        return account
    if lineage.directory_url:
        return replace(account, directory_url=lineage.directory_url)
    host = urlsplit(account.uri).netloc
    known = (
        c.directory for c in cas.all_cas(context.settings.acme).values() if c.directory and host
    )
    found = next((d for d in known if urlsplit(d).netloc == host), "")
    return replace(account, directory_url=found)


def account_objection(context: Context, account: ClientAccount) -> str:
    """Return why an account cannot be used here; empty if it can."""
    if not account.uri.startswith("https://"):
        return (
            f"the URL of its account {account.id[:60]} at the CA is not recorded (--account NAME"
            " uses one of the inventory)"
        )
    if not account.directory_url:
        return (
            f"the CA of its account {account.id[:60]} is not known: write an [acme.ca.NAME] with"
            " its directory, or give --account NAME"
        )
    try:
        cas.find(context.settings.acme, "", account.directory_url)
    except CertmgrError as error:
        return f"its account cannot be used: {error.what}"
    kind = _account_key_type(account)
    if kind not in KEY_TYPES:
        return (
            f"the key of its account {account.id[:12]} is {printable(kind, 30)}; certmgr can use"
            f" {', '.join(KEY_TYPES)}"
        )
    return ""


# The words in the names of test CAs, such as "(STAGING) Let's Encrypt" and "Fake LE Intermediate".
_TEST_ISSUERS = ("(staging)", "fake le ", "happy hacker fake ca")


def objection_to_test_ca(context: Context, directory: str, lineage: ClientLineage) -> str:
    """Return why certificates of a CA for tests are not taken over; empty if the CA is none.

    Its certificates look valid and are renewed in time, and no browser trusts them.
    """
    known = cas.all_cas(context.settings.acme).values()
    ca = next((c for c in known if c.directory == directory and c.test), None)
    issuer = lineage.bundle.leaf.issuer
    if ca is None and not any(word in issuer.lower() for word in _TEST_ISSUERS):
        return ""
    named = ca.title if ca is not None else printable(issuer, 100)
    return (
        f"its certificate is of a CA for tests, which no browser trusts: {named}. Issue it at the"
        " real CA first, or give --account NAME of a real CA, which then renews it"
    )


def _account_key_type(account: ClientAccount) -> str:
    key = load_pem(account.key_pem)
    described = describe_key(key.public_key())[0].lower()
    return described.replace("ec p-", "ec-p").replace("rsa ", "rsa-")


def _recorded(conn: Connection, account: ClientAccount) -> AccountRecord | None:
    found = (r for r in accounts.listing(conn, retired=True) if r.url == account.uri)
    return next(found, None)


def store_account_key(context: Context, account: ClientAccount, client: str) -> AccountToRecord:
    """Store the key of an account as a file, unless the inventory has the account."""
    ca = cas.find(context.settings.acme, "", account.directory_url)
    # certbot's ids are hashes; those of other clients are paths or URLs, which are too long.
    digest = hashlib.sha256(account.uri.encode()).hexdigest()[:12]
    suffix = account.id[:12] if client == "certbot" else digest
    name = f"{client.replace('.', '-')}-{suffix}".lower()
    with context.read() as conn:
        if _recorded(conn, account) is not None:
            return AccountToRecord(account, name, ca.name)
    key = load_pem(account.key_pem)
    # The file comes before the row: a row without its key would be an account that cannot be used.
    path = key_store(context.settings).store_key(f"account-{name}", _account_key_type(account), key)
    return AccountToRecord(account, name, ca.name, key_reference(path))


def record_account(tx: Tx, made: AccountToRecord) -> int:
    """Return the id of an account in the inventory, recorded if it is new there."""
    same = _recorded(tx.conn, made.account)
    if same is not None:
        return int(same.id)
    account_id = accounts.add(
        tx,
        {
            "name": made.name,
            "ca": made.ca,
            "directory": made.account.directory_url,
            "key_reference": made.key_reference,
            "contacts": tuple(made.account.contacts),
        },
    )
    accounts.edit(tx, account_id, url=made.account.uri, state="active")
    return account_id


def conflict(conn: Connection, lineage: ClientLineage, client_id: int) -> str:
    """Return why a lineage of the same name prevents a takeover; empty if none does."""
    # A retired lineage keeps its name, too: its files are still in the folder of that name.
    states = ("active", "paused", "retired")
    existing = next(
        (r for r in lineages.listing(conn, states=states) if r.name == lineage.name), None
    )
    if existing is not None and (
        # A lineage belongs to one client for good: reports of the old client must not show the new
        # one.
        existing.client_id != client_id
        or (existing.state != "retired" and existing.sha256 not in (None, lineage.bundle.sha256))
    ):
        return f"there is already another lineage '{lineage.name}' here: retire it first"
    return ""


def record_lineage(
    tx: Tx, lineage: ClientLineage, account_id: int, solver: str, targets: Sequence[str]
) -> None:
    """Record a lineage with its current certificate, or activate its row again.

    Raises:
        Conflict: There is another lineage of the same name.
    """
    names = [
        normalise_host(n) if not n.startswith("*.") else f"*.{normalise_host(n[2:])}"
        for n in lineage.names
    ]
    owner = domain_owners.owner_of(tx.conn, names[0].removeprefix("*."))
    assert owner is not None
    existing = [
        r
        for r in lineages.listing(tx.conn, states=("active", "paused", "retired"))
        if r.name == lineage.name
    ]
    if why := conflict(tx.conn, lineage, owner.client_id):
        raise Conflict(f"'{lineage.name}' cannot be taken over", why)
    # Known to scans at once, so that the served certificate is recognised as expected.
    certificates.add(tx, [asdict(certificate_row(c)) for c in lineage.bundle.chain])
    if not existing:
        values = {
            "account_id": account_id,
            "key_type": lineage.key_type,
            "solver": solver,
            "targets": tuple(targets),
            "reuse_key": int(lineage.reuse_key),
            "profile": lineage.profile or None,
            "preferred_chain": lineage.preferred_chain or None,
        }
        lineage_id = lineages.add(
            tx, lineage.name, clients.find(tx.conn, owner.number).number, names, values
        )
    else:
        # A second call after a crash, or a lineage that was given back to certbot before.
        lineage_id = int(existing[0].id)
        lineages.edit(
            tx,
            lineage_id,
            state="active",
            retired_at=None,
            account_id=account_id,
            solver=solver,
            targets=tuple(targets),
        )
        lineages.set_names(tx, lineage_id, names)
    digest = lineage.bundle.sha256
    lineages.note(
        tx,
        lineage_id,
        sha256=digest,
        deployed=digest,
        chain=tuple(c.sha256 for c in lineage.bundle.chain),
    )
