"""Turn the report of one endpoint into the steps of a visit. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from urllib.parse import urlsplit

from certmgr.inspection.report import AddressView, EndpointReport
from certmgr.renewers.plan import EXPIRING, RenewalPlan
from certmgr.scan.visits import VisitDocument
from inventory.dates import minute_text, span_text
from inventory.names import display
from inventory.text import printable
from inventory.vocabulary import FOREIGN_ADDRESS
from notifiers.wording.sentences import sentence

OK, FAULT, UNKNOWN, SKIPPED = "ok", "fault", "unknown", "not reached"
# The findings of each step.
_NAME_CODES = frozenset({"name-mismatch", "default-certificate", "san-missing"})
_DATE_CODES = frozenset({"certificate-expired", "certificate-not-yet-valid"})
_CHAIN_CODES = frozenset(
    {
        "self-signed",
        "untrusted-root",
        "chain-incomplete",
        "chain-ambiguous",
        "intermediate-expired",
        "issuer-not-yet-valid",
        "root-expired",
        "ca-distrusted",
        "verification-disputed",
        "certificate-malformed",
        "key-weak",
        "signature-weak",
        "validity-too-long",
    }
)


@dataclass(frozen=True, slots=True)
class DiagnosisStep:
    """One step of a visit. ``state``: ok, fault, unknown or not reached."""

    name: str
    state: str
    text: str


def steps(
    report: EndpointReport,
    url: str,
    now: datetime,
    clock: datetime | None = None,
    plan: RenewalPlan | None = None,
    zone: tzinfo = UTC,
) -> tuple[DiagnosisStep, ...]:
    """Return the steps from the name resolution to the page.

    Args:
        report: The result of the scan.
        url: The URL that was requested.
        now: The current time.
        clock: What the clock of the visitor's device shows, if it is known.
        plan: The renewal that is due and in time.
        zone: The time zone of the provider, in which its staff read times.
    """
    result = [_resolution(report), *_foreign(report), *[_reach(a) for a in report.addresses]]
    seen = [a for a in report.addresses if a.seen]
    # An address that accepts no connection has no TLS step.
    result += [_tls(a) for a in report.addresses if _connected(a)]
    if not seen:
        result += [
            DiagnosisStep(name, SKIPPED, "no address sent a certificate")
            for name in ("chain", "name", "dates")
        ]
    else:
        result += [_chain(report), _name(report), _dates(report, now, clock, plan, zone)]
    return (*result, *_pages(report, url))


def _resolution(report: EndpointReport) -> DiagnosisStep:
    codes = {f.code: f for f in report.findings}
    host = display(report.target.host)
    if "name-not-found" in codes:
        return DiagnosisStep(
            "name resolution",
            FAULT,
            f"{host}: {codes['name-not-found'].evidence.get('answer', 'no address')}",
        )
    addresses = ", ".join(a.address for a in report.addresses)
    # A failed query is no proof that the name does not exist.
    if "dns-failure" in codes:
        answer = codes["dns-failure"].evidence.get("answer", "no answer")
        return DiagnosisStep(
            "name resolution",
            UNKNOWN,
            f"{host}: {answer}" + (f"; known addresses: {addresses}" if addresses else ""),
        )
    # The name may have addresses that a guarded scan must not visit, so this is not a fault.
    if not addresses:
        return DiagnosisStep("name resolution", UNKNOWN, f"{host}: no address that may be visited")
    return DiagnosisStep("name resolution", OK, f"{host} is {addresses}")


def _foreign(report: EndpointReport) -> list[DiagnosisStep]:
    """Return a step about addresses that are not the provider's, with what is wrong there."""
    found = next((f for f in report.findings if f.code == FOREIGN_ADDRESS), None)
    if found is None:
        return []
    text = " ".join(sentence(f, report.target) for f in (found, *report.explained))
    return [DiagnosisStep("DNS records", FAULT, text)]


def _connected(address: AddressView) -> bool:
    """Return whether the TCP connection was established, even if TLS failed after it."""
    return address.error is None or address.error[0] in ("tls", "starttls") or address.seen


def _reach(address: AddressView) -> DiagnosisStep:
    # The fault is at this machine; a visitor may reach the address.
    if address.no_route:
        return DiagnosisStep(
            "reachability",
            UNKNOWN,
            f"{address.address}: this machine has no route to"
            f" IPv{6 if ':' in address.address else 4}; test it from another network",
        )
    if _connected(address):
        return DiagnosisStep("reachability", OK, f"{address.address} accepts the connection")
    layer, reason = address.error or ("", "")
    # A time-out may be caused by this machine or its network, so it is not called a fault.
    return DiagnosisStep(
        "reachability",
        UNKNOWN if layer in ("timeout", "local") else FAULT,
        f"{address.address}: {reason}",
    )


def _tls(address: AddressView) -> DiagnosisStep:
    if address.tls_version:
        # Only versions that browsers reject are faults of this step.
        old = address.refuses_browsers
        facts = ", ".join(f for f in (address.tls_version, address.cipher) if f)
        return DiagnosisStep(
            "TLS",
            FAULT if old else OK,
            f"{address.address}: {facts}" + (", which browsers do not accept" if old else ""),
        )
    reason = address.error[1] if address.error else "no handshake"
    return DiagnosisStep("TLS", FAULT, f"{address.address}: {reason}")


def _sentences(report: EndpointReport, codes: frozenset[str]) -> list[str]:
    return [
        sentence(f, report.target)
        for f in report.findings
        if f.code in codes and f.severity != "info"
    ]


def _chain(report: EndpointReport) -> DiagnosisStep:
    if sentences := _sentences(report, _CHAIN_CODES):
        return DiagnosisStep("chain", FAULT, " ".join(sentences))
    if any(a.seen and a.trusted is None for a in report.addresses):
        return DiagnosisStep(
            "chain", UNKNOWN, "whether browsers trust it could not be determined from here"
        )
    # An expired certificate is not trusted either; the step "dates" reports it.
    if any(a.seen and a.trusted is False for a in report.addresses) and not _sentences(
        report, _DATE_CODES
    ):
        return DiagnosisStep("chain", FAULT, "it does not lead to a CA that browsers trust")
    return DiagnosisStep(
        "chain",
        OK,
        "it leads to a CA that browsers trust; issuer"
        f" {printable(report.certificate.issuer, 100) if report.certificate else ''}",
    )


def _name(report: EndpointReport) -> DiagnosisStep:
    if sentences := _sentences(report, _NAME_CODES):
        return DiagnosisStep("name", FAULT, " ".join(sentences))
    names = ", ".join(
        printable(n, 80) for n in (report.certificate.names[:4] if report.certificate else ())
    )
    return DiagnosisStep("name", OK, f"the certificate is for {names}")


def _dates(
    report: EndpointReport,
    now: datetime,
    clock: datetime | None,
    plan: RenewalPlan | None,
    zone: tzinfo,
) -> DiagnosisStep:
    leaf = report.certificate
    if leaf is None or leaf.not_before is None or leaf.not_after is None:
        return DiagnosisStep("dates", UNKNOWN, "the dates of the certificate cannot be parsed")
    valid = (
        f"valid from {minute_text(leaf.not_before, zone)} to {minute_text(leaf.not_after, zone)}"
    )
    # The end of a certificate that is renewed in time is no fault.
    codes = _DATE_CODES if plan is None else _DATE_CODES - {EXPIRING}
    if sentences := _sentences(report, codes):
        return DiagnosisStep("dates", FAULT, f"{' '.join(sentences)} It is {valid}.")
    # The certificate is valid, but the visitor's browser judges by the clock of the device.
    if clock is not None and not leaf.not_before <= clock <= leaf.not_after:
        return DiagnosisStep(
            "dates",
            FAULT,
            f"the visitor's clock shows {minute_text(clock, zone)}, and the certificate is {valid}",
        )
    return DiagnosisStep(
        "dates",
        OK,
        f"{valid} ({span_text(leaf.not_after - now)} left); a device whose clock shows another"
        " time reports an error",
    )


def _pages(report: EndpointReport, url: str) -> tuple[DiagnosisStep, ...]:
    if report.web is None or report.web.document is None:
        return (DiagnosisStep("HTTP", SKIPPED, "the pages were not requested"),)
    return tuple(_page(v) for v in _requested_visits(report, url)) or (
        DiagnosisStep(
            "HTTP",
            SKIPPED,
            f"{printable(url, 120)} was not reached: the connection before it failed",
        ),
    )


def _requested_visits(report: EndpointReport, url: str) -> list[VisitDocument]:
    """Return the visits of the requested page: the scan visits the home page too."""
    if report.web is None or report.web.document is None:
        return []
    visits: list[VisitDocument] = report.web.document["visits"]
    return [v for v in visits if _page_of(v["url"]) == _page_of(url)]


def _page_of(url: str) -> tuple[str, str, str]:
    """Return what identifies a page of the host: scheme, path and query."""
    parts = urlsplit(url)
    return parts.scheme, parts.path or "/", parts.query


def _page(visit: VisitDocument) -> DiagnosisStep:
    hops = "".join(
        f"{h['status']} to {printable(h['location'], 120)}, " for h in visit["redirects"]
    )
    end = visit["end"]
    prefix = f"{visit['address']}: {printable(visit['url'], 120)}: {hops}"
    match end:
        case "page":
            title = f" '{printable(visit['title'], 60)}'" if visit["title"] else ""
            # 401: the page asks for a password, which is no fault.
            state = OK if 200 <= (visit["status"] or 0) < 400 or visit["status"] == 401 else FAULT
            return DiagnosisStep("HTTP", state, f"{prefix}{visit['status']}{title}")
        # The other site may have another owner, and does not explain a fault of this one.
        case "left":
            return DiagnosisStep(
                "HTTP", OK, f"{prefix.rstrip(', ')}; that is another site and was not opened"
            )
        case "loop":
            # Browsers stop with an error page after some redirects.
            return DiagnosisStep("HTTP", FAULT, f"{prefix}and so on without end ({visit['error']})")
        case "closed":
            # A site may do without plain HTTP.
            return DiagnosisStep(
                "HTTP",
                FAULT if visit["url"].startswith("https") else OK,
                f"{prefix}the connection is refused",
            )
        case _:
            return DiagnosisStep(
                "HTTP", UNKNOWN, f"{prefix}{printable(visit['error'] or 'no answer', 150)}"
            )


def page_error(report: EndpointReport, url: str) -> tuple[str, int] | None:
    """Return (URL, status) if the requested page answers with an error of the site; else None."""
    for visit in _requested_visits(report, url):
        # An error of another site, to which this one redirects, is not an error of this site.
        own = urlsplit(visit["final_url"]).hostname == report.target.host
        # With 401, 403, 429 and 503 the site may refuse automated requests only, and show the page
        # to a visitor.
        if (
            own
            and visit["status"] is not None
            and visit["status"] >= 400
            and visit["status"] not in (401, 403, 429, 503)
        ):
            return visit["final_url"], visit["status"]
    return None
