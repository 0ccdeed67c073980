"""A report of one endpoint -> what a visitor goes through, step by step. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from certmgr.inspection.report import AddressView, EndpointReport
from inventory.dates import days_left
from inventory.names import display
from inventory.text import printable
from notifiers.wording.sentences import sentence

OK, FAULT, UNKNOWN, SKIPPED = "ok", "fault", "unknown", "not reached"
_NAME_CODES = frozenset({"name-mismatch", "default-certificate", "san-missing"})
_DATE_CODES = frozenset({"certificate-expired", "certificate-not-yet-valid"})
_CHAIN_CODES = frozenset(
    {
        "self-signed",
        "untrusted-root",
        "chain-incomplete",
        "intermediate-expired",
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
    """``state``: ok, fault, unknown or not reached."""

    name: str
    state: str
    text: str


def steps(
    report: EndpointReport, url: str, now: datetime, clock: datetime | None = None
) -> tuple[DiagnosisStep, ...]:
    """``clock``: what the visitor's device shows, where it is known."""
    made = [_resolution(report), *[_reach(a) for a in report.addresses]]
    seen = [a for a in report.addresses if a.seen]
    made += [_tls(a) for a in report.addresses if _connected(a)]
    if not seen:
        made += [
            DiagnosisStep(name, SKIPPED, "there was no certificate to look at")
            for name in ("chain", "name", "dates")
        ]
    else:
        made += [_chain(report), _name(report), _dates(report, now, clock)]
    return (*made, *_pages(report, url))


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
    if "dns-failure" in codes:
        said = codes["dns-failure"].evidence.get("answer", "no answer")
        return DiagnosisStep(
            "name resolution",
            UNKNOWN,
            f"{host}: {said}" + (f"; known are {addresses}" if addresses else ""),
        )
    if not addresses:
        return DiagnosisStep("name resolution", UNKNOWN, f"{host}: no address that may be visited")
    return DiagnosisStep("name resolution", OK, f"{host} is {addresses}")


def _connected(address: AddressView) -> bool:
    return address.error is None or address.error[0] in ("tls", "starttls") or address.seen


def _reach(address: AddressView) -> DiagnosisStep:
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
    return DiagnosisStep(
        "reachability",
        UNKNOWN if layer in ("timeout", "local") else FAULT,
        f"{address.address}: {reason}",
    )


def _tls(address: AddressView) -> DiagnosisStep:
    if address.tls_version:
        old = address.tls_version in ("TLSv1", "TLSv1.1", "SSLv3")
        facts = ", ".join(f for f in (address.tls_version, address.cipher) if f)
        return DiagnosisStep(
            "TLS",
            FAULT if old else OK,
            f"{address.address}: {facts}" + (", which browsers no longer use" if old else ""),
        )
    reason = address.error[1] if address.error else "no handshake"
    return DiagnosisStep("TLS", FAULT, f"{address.address}: {reason}")


def _found(report: EndpointReport, codes: frozenset[str]) -> list[str]:
    return [
        sentence(f, report.target)
        for f in report.findings
        if f.code in codes and f.severity != "info"
    ]


def _chain(report: EndpointReport) -> DiagnosisStep:
    if said := _found(report, _CHAIN_CODES):
        return DiagnosisStep("chain", FAULT, " ".join(said))
    if any(a.seen and a.trusted is None for a in report.addresses):
        return DiagnosisStep("chain", UNKNOWN, "whether it is trusted could not be told")
    if any(a.seen and a.trusted is False for a in report.addresses) and not _found(
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
    if said := _found(report, _NAME_CODES):
        return DiagnosisStep("name", FAULT, " ".join(said))
    names = ", ".join(
        printable(n, 80) for n in (report.certificate.names[:4] if report.certificate else ())
    )
    return DiagnosisStep("name", OK, f"the certificate is for {names}")


def _dates(report: EndpointReport, now: datetime, clock: datetime | None) -> DiagnosisStep:
    leaf = report.certificate
    if leaf is None or leaf.not_before is None or leaf.not_after is None:
        return DiagnosisStep("dates", UNKNOWN, "the certificate gives no dates that can be read")
    valid = f"valid from {leaf.not_before:%Y-%m-%d %H:%M} to {leaf.not_after:%Y-%m-%d %H:%M} UTC"
    if said := _found(report, _DATE_CODES):
        return DiagnosisStep("dates", FAULT, f"{' '.join(said)} It is {valid}.")
    if clock is not None and not leaf.not_before <= clock <= leaf.not_after:
        return DiagnosisStep(
            "dates",
            FAULT,
            f"the visitor's clock shows {clock:%Y-%m-%d %H:%M} UTC, and the certificate is {valid}",
        )
    return DiagnosisStep(
        "dates",
        OK,
        f"{valid} ({days_left(leaf.not_after, now)} days left); a device whose clock is outside of"
        " that shows an error",
    )


def _pages(report: EndpointReport, url: str) -> tuple[DiagnosisStep, ...]:
    if report.web is None or report.web.document is None:
        return (DiagnosisStep("HTTP", SKIPPED, "the pages were not asked"),)
    wanted = urlsplit(url)
    made = []
    for visit in report.web.document["visits"]:
        parts = urlsplit(visit["url"])
        if (parts.scheme, parts.path, parts.query) == (
            wanted.scheme,
            wanted.path or "/",
            wanted.query,
        ):
            made.append(_page(visit))
    return tuple(made) or (
        DiagnosisStep(
            "HTTP",
            SKIPPED,
            f"{printable(url, 120)} was not reached: the connection before it failed",
        ),
    )


def _page(visit: dict[str, Any]) -> DiagnosisStep:
    hops = "".join(
        f"{h['status']} to {printable(h['location'], 120)}, " for h in visit["redirects"]
    )
    end = visit["end"]
    at = f"{visit['address']}: {printable(visit['url'], 120)}: {hops}"
    match end:
        case "page":
            title = f" '{printable(visit['title'], 60)}'" if visit["title"] else ""
            state = OK if 200 <= (visit["status"] or 0) < 400 or visit["status"] == 401 else FAULT
            return DiagnosisStep("HTTP", state, f"{at}{visit['status']}{title}")
        case "left":
            return DiagnosisStep(
                "HTTP", OK, f"{at.rstrip(', ')}; that is another site and was not opened"
            )
        case "loop":
            return DiagnosisStep("HTTP", FAULT, f"{at}and so on without end ({visit['error']})")
        case "closed":
            return DiagnosisStep(
                "HTTP",
                FAULT if visit["url"].startswith("https") else OK,
                f"{at}nothing listens there",
            )
        case _:
            return DiagnosisStep(
                "HTTP", UNKNOWN, f"{at}{printable(visit['error'] or 'no answer', 150)}"
            )


def page_error(report: EndpointReport, url: str) -> tuple[str, int] | None:
    """(URL, status) where the page that was asked for answers with an error of its own, or None."""
    wanted = urlsplit(url)
    for visit in (
        report.web.document["visits"]
        if report.web is not None and report.web.document is not None
        else ()
    ):
        parts = urlsplit(visit["url"])
        same = (parts.scheme, parts.path, parts.query) == (
            wanted.scheme,
            wanted.path or "/",
            wanted.query,
        )
        own = urlsplit(visit["final_url"]).hostname == report.target.host
        if (
            same
            and own
            and visit["status"] is not None
            and visit["status"] >= 400
            and visit["status"] not in (401, 403, 429, 503)
        ):
            return visit["final_url"], visit["status"]
    return None
