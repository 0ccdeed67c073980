"""What is recorded when a CA has issued a certificate, in one transaction.

The certificate and its chain, the end of the order, what counts against the CA's rate limits, and
the new state of the lineage belong together: after a death in between, the next run would order a
certificate that exists already.
"""

from __future__ import annotations

from dataclasses import asdict

from certmgr.acme.orders import rate_limits
from certmgr.acme.orders.received import IssuedChain
from certmgr.inspection.report import certificate_row
from inventory.db.database import Tx
from inventory.records import OrderRecord
from inventory.store import acme_orders, certificates, lineage_names, lineages
from inventory.vocabulary import OrderState, RateEventKind


def store_certificate(
    tx: Tx, row: OrderRecord, chain: IssuedChain, url: str, note: str
) -> OrderRecord:
    """Record an issued certificate.

    Args:
        tx: The transaction.
        row: The order.
        chain: The certificate with its chain, verified.
        url: Where the CA offers it.
        note: What is worth a remark, such as a preferred chain that the CA does not offer.

    Returns:
        The order in the state ``issued``.
    """
    certificates.add(tx, [asdict(certificate_row(c)) for c in chain.certificates])
    row = acme_orders.record(
        tx,
        row,
        state=OrderState.ISSUED,
        sha256=chain.leaf.sha256,
        certificate_url=url,
        error=note or None,
    )
    _count(tx, row)
    lineages.note(
        tx,
        row.lineage_id,
        sha256=chain.leaf.sha256,
        chain=tuple(c.sha256 for c in chain.certificates),
        # The failures of earlier orders do not delay the next renewal.
        failures=0,
        next_at=None,
        error=note or None,
        # Renewal information is about one certificate (RFC 9773 4.1), here the replaced one.
        ari_start=None,
        ari_end=None,
        ari_at=None,
        ari_url=None,
        ari_next_at=None,
        # Issued is not installed: only a probe proves that the new certificate is served.
        proven_at=None,
        proof=None,
        verification=None,
    )
    lineage_names.issued(tx, row.lineage_id, row.names)
    return row


def _count(tx: Tx, row: OrderRecord) -> None:
    """Count the certificate for the limits per registered domain and per exact set of names."""
    domains: list[tuple[str | None, str | None]] = [
        (d, None) for d in rate_limits.registered_domains(row.names)
    ]
    names = (None, rate_limits.name_set_digest(row.names))
    acme_orders.count(
        tx, row.account_id, RateEventKind.CERTIFICATE, [*domains, names], exempt=bool(row.exempt)
    )
