"""The results of a scan as values and as JSON (``certmgr.scan/1``)."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from certmgr.cli.output import instant
from certmgr.cli.planned import plan_document
from certmgr.inspection.status import counts
from certmgr.inspection.trust_ends import trust_row
from certmgr.renewers.plan import EXPIRING, RenewalPlan
from inventory.dates import days_left
from inventory.targets import Target
from inventory.vocabulary import Finding, verdict_of
from notifiers.wording.sentences import sentence

if TYPE_CHECKING:
    from certmgr.inspection.report import AddressView, CertificateView, EndpointReport
    from inventory.vocabulary import Acceptance


def _keys(value: Any) -> dict[str, Any]:
    """Return the fields of a record by name. Nested records stay as they are."""
    # asdict() would copy nested records too, which takes long for 100,000 endpoints.
    return {name: getattr(value, name) for name in value.__slots__}


@dataclass(frozen=True, slots=True)
class ScannedCertificate:
    """The leaf certificate that was served first.

    Attributes:
        names: The names of the certificate.
        not_before: ISO 8601 in UTC; None if the certificate has no valid date.
        not_after: As ``not_before``.
        days_left: Whole days from the scan to the end, negative after it.
        key: Kind and size, such as EC P-256.
    """

    # These fields are keys of the JSON schema, so a renamed field breaks programs that read it.
    sha256: str
    serial: str
    subject: str
    issuer: str
    names: list[str]
    not_before: str | None
    not_after: str | None
    days_left: int | None
    key: str

    @classmethod
    def of(cls, leaf: CertificateView, now: datetime) -> Self:
        """Return a certificate as it is shown."""
        return cls(
            sha256=leaf.sha256,
            serial=leaf.serial,
            subject=leaf.subject,
            issuer=leaf.issuer,
            names=list(leaf.names),
            not_before=instant(leaf.not_before),
            not_after=instant(leaf.not_after),
            # Without a valid end there are no days, and 0 would mean that it ends today.
            days_left=days_left(leaf.not_after, now) if leaf.not_after else None,
            key=leaf.key,
        )


@dataclass(frozen=True, slots=True)
class ScanError:
    """Why the probe of an address failed.

    Attributes:
        layer: dns, connect, tls, starttls, timeout or local.
    """

    layer: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScannedAddress:
    """What one address served.

    Attributes:
        chain: SHA-256 of the certificates as sent, the leaf first.
        trusted: None if that is undetermined.
        trusted_until: Until when each browser trusts it, as
            :func:`certmgr.inspection.trust_ends.trust_row` returns it.
    """

    address: str
    tls_version: str | None
    cipher: str | None
    group: str | None
    post_quantum: bool | None
    alpn: str | None
    ocsp: str | None
    chain: list[str]
    # None and False differ: an undetermined chain is no evidence against the site.
    trusted: bool | None
    trusted_until: dict[str, Any] | None
    error: ScanError | None

    @classmethod
    def of(cls, view: AddressView, now: datetime, rules: str) -> Self:
        """Return an address as it is shown."""
        return cls(
            address=view.address,
            tls_version=view.tls_version,
            cipher=view.cipher,
            group=view.group,
            post_quantum=view.post_quantum,
            alpn=view.alpn,
            ocsp=view.ocsp,
            chain=list(view.chain),
            trusted=view.trusted,
            # The version of the rules is kept with the dates, because newer rules may give other
            # dates.
            trusted_until=trust_row(view.trust_ends, now, rules),
            error=None if view.error is None else ScanError(*view.error),
        )

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """Return an address that was kept as JSON."""
        # A record that was read from JSON must equal the one that was written, also without an
        # error.
        error = row["error"]
        return cls(**{**row, "error": None if error is None else ScanError(**error)})

    def as_row(self) -> dict[str, Any]:
        """Return the address as it stands in the JSON document."""
        return _keys(self) | {"error": None if self.error is None else _keys(self.error)}


@dataclass(frozen=True, slots=True)
class AcceptedUntil:
    """An acceptance of a finding.

    Attributes:
        until: ISO 8601 in UTC.
    """

    until: str | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScannedFinding:
    """A finding, with its sentence in English.

    Attributes:
        accepted: The acceptance in force. The JSON document leaves the key out if there is none.
        planned: By whom and until when the certificate is renewed; left out in the same way.
    """

    code: str
    severity: str
    actor: str
    outcome: str | None
    addresses: list[str]
    detail: str
    evidence: Mapping[str, Any]
    accepted: AcceptedUntil | None = None
    planned: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, finding: Finding, target: Target) -> Self:
        """Return a finding as it is shown."""
        return cls(
            code=finding.code,
            severity=str(finding.severity),
            actor=str(finding.actor),
            outcome=finding.outcome,
            addresses=list(finding.addresses),
            detail=sentence(finding, target),
            evidence=finding.evidence,
        )

    def as_row(self) -> dict[str, Any]:
        """Return the finding as it stands in the JSON document."""
        row = _keys(self)
        # A key that is always null would suggest that acceptances of named targets are known.
        del row["accepted"], row["planned"]
        if self.planned is not None:
            row["planned"] = dict(self.planned)
        return row if self.accepted is None else row | {"accepted": _keys(self.accepted)}


@dataclass(frozen=True, slots=True)
class ScannedEndpoint:
    """One endpoint of ``certmgr.scan/1``.

    Attributes:
        target: host:port, with the protocol if it is not https.
        client: The number of the client. None if it is not known.
        http: The pages, as :mod:`certmgr.scan.visits` describes them. None if they were not
            requested.
        stored: Whether it is what the inventory keeps of the probe, and not all that was seen. The
            JSON document leaves the key out if not.
    """

    target: str
    host: str
    port: int
    protocol: str
    client: str | None
    verdict: str
    certificate: ScannedCertificate | None
    addresses: Sequence[ScannedAddress]
    trust_rules: str
    http: dict[str, Any] | None
    findings: Sequence[ScannedFinding]
    stored: bool = False

    @classmethod
    def of(cls, report: EndpointReport) -> Self:
        """Return the result of a scan as it is shown."""
        target, leaf = report.target, report.certificate
        return cls(
            target=target.key,
            host=target.host,
            port=target.port,
            protocol=target.protocol,
            # Named targets are not searched for in the inventory, so they have no client.
            client=None,
            verdict=str(verdict_of({str(f.severity) for f in report.findings})),
            certificate=None if leaf is None else ScannedCertificate.of(leaf, report.at),
            addresses=[ScannedAddress.of(a, report.at, report.rules) for a in report.addresses],
            trust_rules=report.rules,
            http=report.web.document if report.web is not None else None,
            findings=[ScannedFinding.of(f, target) for f in report.findings],
        )

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """Return an endpoint that was kept as JSON, without acceptances."""
        leaf = row["certificate"]
        return cls(
            **{
                **row,
                "certificate": None if leaf is None else ScannedCertificate(**leaf),
                "addresses": [ScannedAddress.of_row(a) for a in row["addresses"]],
                # Acceptances are added later from the inventory, so a kept row never has one.
                "findings": [ScannedFinding(**f) for f in row["findings"]],
            }
        )

    def as_row(self) -> dict[str, Any]:
        """Return the endpoint as it stands in the JSON document."""
        row = _keys(self)
        if not self.stored:
            del row["stored"]
        return row | {
            "certificate": None if self.certificate is None else _keys(self.certificate),
            "addresses": [a.as_row() for a in self.addresses],
            "findings": [f.as_row() for f in self.findings],
        }

    def of_client(
        self, client: str, accepted: Mapping[str, Acceptance], plan: RenewalPlan | None
    ) -> Self:
        """Return the endpoint of a client.

        Args:
            client: The number of the client.
            accepted: The acceptances in force for this endpoint, by finding code.
            plan: The renewal of its certificate that is due and in time.
        """
        findings = [
            replace(f, accepted=AcceptedUntil(instant(a.until), a.by, a.reason))
            if (a := accepted.get(f.code)) is not None
            else f
            for f in self.findings
        ]
        if plan is not None:
            document = plan_document(plan)
            findings = [replace(f, planned=document) if f.code == EXPIRING else f for f in findings]
        # Accepted findings do not count for the verdict, and neither does a renewal in time.
        begun = plan is not None and plan.begun
        verdict = verdict_of(
            {
                f.severity
                for f in findings
                if f.accepted is None and not (begun and f.code == EXPIRING)
            }
        )
        return replace(self, client=client, findings=findings, verdict=str(verdict))

    @property
    def parsed_target(self) -> Target:
        """The target as a value."""
        return Target(self.host, self.port, self.protocol)


def document_parts(
    started: datetime, finished: datetime, endpoints: Iterable[ScannedEndpoint]
) -> Iterator[str]:
    """Yield the text of a scan of given targets, a document of ``certmgr.scan/1``, in pieces.

    A piece has one endpoint: all of them may not fit into memory.
    """
    head = {
        "schema": "certmgr.scan/1",
        "started_at": instant(started),
        "finished_at": instant(finished),
    }
    verdicts = []
    # Without the brace that closes it.
    yield json.dumps(head, indent=2)[:-2] + ',\n  "endpoints": ['
    for number, endpoint in enumerate(endpoints):
        verdicts.append(endpoint.verdict)
        # ASCII only: untrusted text cannot put control characters into the terminal.
        text = json.dumps(endpoint.as_row(), ensure_ascii=True, indent=2, default=str)
        yield ("," if number else "") + "\n" + textwrap.indent(text, "    ")
    end = "\n  ]" if verdicts else "]"
    # And without the brace that opens it.
    yield f"{end},{json.dumps({'summary': counts(verdicts)}, indent=2)[1:]}"


def csv_row(endpoint: ScannedEndpoint) -> dict[str, Any]:
    """Return an endpoint as a row of the CSV, with one line per endpoint."""
    leaf = endpoint.certificate
    facts = ("days_left", "not_after", "issuer", "subject", "serial", "sha256")
    return {
        "target": endpoint.target,
        "client": endpoint.client,
        "verdict": endpoint.verdict,
        # An endpoint without a certificate still has a row: it may be the most urgent one.
        **{k: getattr(leaf, k, None) for k in facts},
        # A list is one cell, so that each endpoint has exactly one line.
        "addresses": [a.address for a in endpoint.addresses],
        "codes": [f.code for f in endpoint.findings],
        "detail": [f.detail for f in endpoint.findings],
    }
