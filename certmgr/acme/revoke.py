"""Revokes a certificate at the CA that issued it (RFC 8555 7.6), by the account or by the
certificate's own key. An edge.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certmgr.acme import cas
from certmgr.acme.accounts import connect
from certmgr.acme.context import IssuanceContext
from certmgr.acme.deployment import version_of
from certmgr.acme.problems import AcmeError
from certmgr.acme.responses import RawPayload
from certmgr.deploy.lineage import Lineage
from inventory.certificates import parse
from inventory.errors import CertmgrError, NotFound, UsageError
from inventory.store import acme_orders, cases, lineages
from inventory.store.records import Row

# RFC 5280 5.3.1, those that BR 4.9.1.1 lets a subscriber choose.
REASONS = {
    "unspecified": 0,
    "keyCompromise": 1,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
}


@dataclass(frozen=True, slots=True)
class RevocationResult:
    sha256: str
    serial: str
    already: bool


def revoke(
    office: IssuanceContext, name: str, reason: str, *, by: str = "account", sha256: str = ""
) -> RevocationResult:
    """``by``: account or key.

    ``sha256``: of another certificate of the lineage than the newest, or its beginning. Raises
    :class:`CertmgrError`.
    """
    with office.database.read() as conn:
        row = lineages.find(conn, name)
        digest = _which(conn, row, sha256)
        ders = cases.chain_of(conn, [digest])
        order = acme_orders.issued_for(conn, row["id"], digest)
    if not ders:
        raise NotFound(f"'{row['name']}' has no certificate to revoke")
    document = RawPayload(
        {"certificate": urlsafe_b64encode(ders[0]).rstrip(b"=").decode(), "reason": REASONS[reason]}
    )
    account_id = order["account_id"] if order is not None else row["account_id"]
    already = _send(office, row, account_id, digest, document, by)
    with office.write() as tx:
        lineages.revoked(tx, digest, reason)
        if reason == "keyCompromise":
            lineages.edit(
                tx,
                row["id"],
                compromised=" ".join(dict.fromkeys([*row["compromised"].split(), digest])),
            )
        lineages.note(tx, row["id"], next_at=None)
        tx.audit("revoke", "lineage", row["id"], {"action": reason})

    return RevocationResult(digest, parse(ders[0]).serial, already)


def _which(conn: Any, row: Row, sha256: str) -> str:
    if not sha256:
        if row["sha256"] is None:
            raise NotFound(f"'{row['name']}' has no certificate to revoke", "none was issued yet")
        return str(row["sha256"])
    found = [
        o["sha256"]
        for o in acme_orders.last_of(conn, row["id"], 1000)
        if o["sha256"] and o["sha256"].startswith(sha256.lower())
    ]
    if len(set(found)) != 1:
        raise UsageError(
            (
                f"'{sha256[:70]}' is no certificate of '{row['name']}'"
                if not found
                else "That is the beginning of several"
            ),
            "",
            "certmgr lineage show lists them.",
        )
    return str(found[0])


def _send(
    office: IssuanceContext, row: Row, account_id: int, digest: str, document: RawPayload, by: str
) -> bool:
    """Whether it was revoked already."""
    if by == "account":
        session = office.session(account_id)
    else:
        account = office.account(account_id)
        session = connect(
            office.settings,
            cas.find(office.settings.acme, account["ca"], account["directory"]),
            _key(office, row, digest),
            clock=office.now,
        )
    try:
        session.net.post(
            session.directory["revokeCert"], document, new_nonce_url=session.directory["newNonce"]
        )
    except AcmeError as error:
        if error.problem.type != "alreadyRevoked":
            raise
        return True
    return False


def _key(office: IssuanceContext, row: Row, digest: str) -> Any:
    """The certificate's own key, from the version that holds it."""

    folder = Lineage(office.base, row["name"])
    version = version_of(folder, digest)
    pem = folder.read(version).key_pem if version is not None else None
    if pem is None:
        raise CertmgrError(
            "The key of the certificate is not here",
            "its version was removed, or the key is the client's",
            "Give --by account.",
        )
    return load_pem_private_key(pem, None)
