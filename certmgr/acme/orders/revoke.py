"""Revocation of a certificate at its CA (RFC 8555 7.6), authorized by the account or by the key of
the certificate.

This module performs I/O.
"""

from __future__ import annotations

import logging
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from certmgr.acme import cas
from certmgr.acme.context import IssuanceContext
from certmgr.acme.deployment.delivery import version_of
from certmgr.acme.protocol.problems import AcmeError
from certmgr.acme.protocol.responses import RawPayload
from certmgr.acme.protocol.session import connect
from certmgr.deploy.lineage import Lineage
from certmgr.x509.private_keys import load_pem
from inventory.certificates import parse
from inventory.errors import CertmgrError, NotFound, UsageError
from inventory.records import LineageRecord
from inventory.store import acme_orders, certificates, lineages, revocation

_log = logging.getLogger(__name__)

# The reasons of RFC 5280 5.3.1 that a subscriber may choose (Baseline Requirements 4.9.1.1).
REASONS = {
    # The CA's own reasons, such as certificateHold or aACompromise, are not for subscribers.
    "unspecified": 0,
    "keyCompromise": 1,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
}


@dataclass(frozen=True, slots=True)
class RevocationResult:
    """A revoked certificate.

    Attributes:
        sha256: Its fingerprint.
        serial: Its serial number in hexadecimal.
        already: Whether it was revoked before.
    """

    sha256: str
    serial: str
    already: bool


def revoke(
    context: IssuanceContext, name: str, reason: str, *, by: str = "account", sha256: str = ""
) -> RevocationResult:
    """Revoke a certificate of a lineage and record it.

    Args:
        context: The shared dependencies.
        name: The lineage.
        reason: One of :data:`REASONS`.
        by: What authorizes the request: account or key.
        sha256: The fingerprint of the certificate, or its beginning; empty for the newest one.

    Raises:
        NotFound: The lineage has no certificate.
        UsageError: The fingerprint does not identify one certificate.
        AcmeError: The CA refused.
        CertmgrError: The key is not available.
    """
    with context.read() as conn:
        row = lineages.find(conn, name)
        digest = _select_certificate(conn, row, sha256)
        ders = certificates.ders_in_order(conn, [digest])
        order = acme_orders.issued_for(conn, row.id, digest)
    if not ders:
        raise NotFound(f"'{row.name}' has no certificate to revoke")
    document = RawPayload(
        {"certificate": urlsafe_b64encode(ders[0]).rstrip(b"=").decode(), "reason": REASONS[reason]}
    )
    # The account that ordered the certificate may revoke it, even if the lineage has another now.
    # RFC 8555 7.6 also accepts an account with authorizations for all names; the ordering account
    # always works.
    account_id = order.account_id if order is not None else row.account_id
    already = _send(context, row, account_id, digest, document, by)
    # After the CA's answer: a record of a revocation that did not happen would suppress alarms. If
    # the process dies before, the next call learns "alreadyRevoked".
    with context.write() as tx:
        revocation.revoked_by_us(tx, digest, reason)
        # A compromised key is neither reused nor rolled back to.
        if reason == "keyCompromise":
            lineages.edit(
                tx,
                row.id,
                compromised=tuple(dict.fromkeys([*row.compromised, digest])),
            )
        # The replacement must not wait for a postponed retry.
        lineages.note(tx, row.id, next_at=None)
        tx.audit("revoke", "lineage", row.id, {"action": reason})

    return RevocationResult(digest, parse(ders[0]).serial, already)


def _select_certificate(conn: Any, row: LineageRecord, sha256: str) -> str:
    if not sha256:
        if row.sha256 is None:
            raise NotFound(f"'{row.name}' has no certificate to revoke", "none was issued yet")
        return str(row.sha256)
    matching = [
        o.sha256
        for o in acme_orders.last_of(conn, row.id, 1000)
        if o.sha256 and o.sha256.startswith(sha256.lower())
    ]
    if len(set(matching)) != 1:
        raise UsageError(
            (
                f"'{sha256[:70]}' is not a certificate of '{row.name}'"
                if not matching
                else f"'{sha256[:70]}' is the beginning of several fingerprints"
            ),
            "",
            f"See them with certmgr lineage show {row.name}.",
        )
    return str(matching[0])


def _send(
    context: IssuanceContext,
    row: LineageRecord,
    account_id: int,
    digest: str,
    document: RawPayload,
    by: str,
) -> bool:
    """Send the request and return whether the certificate was revoked before."""
    if by == "account":
        session = context.session(account_id)
    else:
        account = context.account(account_id)
        session = connect(
            context.settings,
            cas.find(context.settings.acme, account.ca, account.directory),
            _key(context, row, digest),
            clock=context.now,
        )
    try:
        _log.info("revoking the certificate %s", digest[:16])
        session.post(session.directory["revokeCert"], document)
    except AcmeError as error:
        # An earlier request whose answer was lost may have succeeded: that is a success too.
        if error.problem.type != "alreadyRevoked":
            raise
        return True
    return False


def _key(context: IssuanceContext, row: LineageRecord, digest: str) -> Any:
    """Return the key of a certificate from its version on disk."""

    folder = Lineage(context.base, row.name)
    version = version_of(folder, digest)
    pem = folder.read(version).key_pem if version is not None else None
    if pem is None:
        raise CertmgrError(
            "The key of the certificate is not available",
            "its version was removed, or the client holds the key",
            "Give --by account.",
        )
    return load_pem(pem)
