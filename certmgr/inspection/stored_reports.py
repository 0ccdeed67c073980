"""Reports of earlier probes, made from what the store keeps of them.

The store keeps the certificate that was seen last, what each address served, the pages of an
endpoint that answered, and findings. Addresses that did not answer, and whether post-quantum key
exchange is offered, are not stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from certmgr.inspection.report import AddressView, CertificateView, EndpointReport, PageSummary
from certmgr.inspection.trust_ends import StoredTrust
from certmgr.x509.trust_until import TrustEnd
from inventory.db.database import from_epoch
from inventory.records import StoredAnswer, StoredProbe
from inventory.store import run_results
from inventory.targets import Target
from inventory.vocabulary import Finding


def stored_reports(
    conn: Connection,
    trust: StoredTrust,
    ids: Sequence[int],
    findings: Mapping[int, Sequence[Finding]],
) -> dict[int, EndpointReport]:
    """Return endpoint id -> the report of its last probe, as far as it is stored.

    Args:
        conn: An open connection.
        trust: Computes the ends of trust, with this connection.
        ids: The endpoints.
        findings: The findings of each.
    """
    answers = run_results.answers(conn, ids)
    pages = run_results.pages(conn, ids)
    ends = {(c.endpoint_id, c.address): trust.ends(c) for c in trust.chains(endpoint_ids=ids)}
    return {
        probe.id: _report(
            probe,
            [
                _address(a, ends.get((a.endpoint_id, a.address), ()))
                for a in answers.get(probe.id, ())
            ],
            None if (document := pages.get(probe.id)) is None else PageSummary(document, ""),
            findings.get(probe.id, ()),
            trust.rules.version,
        )
        for probe in run_results.probes(conn, ids)
    }


def _report(
    probe: StoredProbe,
    addresses: Sequence[AddressView],
    web: PageSummary | None,
    findings: Sequence[Finding],
    rules: str,
) -> EndpointReport:
    good = probe.last_good == probe.last_attempt
    error = None if probe.error_layer is None else (probe.error_layer, probe.error_reason or "")
    return EndpointReport(
        target=Target(probe.host, probe.port, probe.protocol),
        at=datetime.fromtimestamp(probe.last_attempt, UTC),
        # A probe that failed saw no certificate, although an earlier one is known.
        certificate=_certificate(probe) if good else None,
        addresses=tuple(addresses),
        findings=tuple(findings),
        good=good,
        undetermined=probe.failing_since is not None,
        resolved=True,
        silent=(),
        error=error,
        web=web,
        rules=rules,
    )


def _certificate(probe: StoredProbe) -> CertificateView | None:
    if probe.sha256 is None:
        return None
    return CertificateView(
        sha256=probe.sha256,
        serial=probe.serial or "",
        subject=probe.subject or "",
        issuer=probe.issuer or "",
        names=probe.names or (),
        not_before=from_epoch(probe.not_before),
        not_after=from_epoch(probe.not_after),
        key=probe.key or "",
    )


def _address(answer: StoredAnswer, ends: tuple[TrustEnd, ...]) -> AddressView:
    return AddressView(
        address=answer.address,
        tls_version=answer.tls_version,
        cipher=answer.cipher,
        group=answer.group_name,
        alpn=answer.alpn,
        ocsp=answer.ocsp,
        chain=answer.chain,
        trusted=None if answer.trusted is None else bool(answer.trusted),
        error=None,
        trust_ends=ends,
    )
