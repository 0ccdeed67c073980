"""Whether browsers accept the certificates of the servers to which the endpoint redirects. Pure.

A visitor who follows such a redirect sees an error page under the name that they typed. So it is a
fault of the redirect, even if the other server is not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from certmgr.checks.browser_rules import issuer_date_findings
from certmgr.checks.certificate import change_dates, date_findings, leaf_findings
from certmgr.checks.chain import path_findings
from certmgr.checks.transport import finding
from certmgr.scan import dead_ends
from certmgr.scan.visits import Elsewhere, Visit
from certmgr.x509.trust import PathVerdict
from inventory.certificates import Certificate
from inventory.vocabulary import Finding, Severity

Assess = Callable[[Sequence[Certificate]], PathVerdict]
"""Maps a chain, leaf first, to the verdict on its path."""
ADVICE = "install a valid certificate for that name, or redirect to a name that has one"
# What Chrome shows, the first of several faults first: finding code -> its error.
_ERRORS = {
    "self-signed": "ERR_CERT_AUTHORITY_INVALID",
    "untrusted-root": "ERR_CERT_AUTHORITY_INVALID",
    "chain-incomplete": "ERR_CERT_AUTHORITY_INVALID",
    "chain-ambiguous": "ERR_CERT_AUTHORITY_INVALID",
    "certificate-malformed": "ERR_CERT_INVALID",
    "signature-weak": "ERR_CERT_INVALID",
    "name-mismatch": "ERR_CERT_COMMON_NAME_INVALID",
    "san-missing": "ERR_CERT_COMMON_NAME_INVALID",
    "key-weak": "ERR_CERT_WEAK_KEY",
    "certificate-expired": "ERR_CERT_DATE_INVALID",
    "certificate-not-yet-valid": "ERR_CERT_DATE_INVALID",
    "intermediate-expired": "ERR_CERT_DATE_INVALID",
    "issuer-not-yet-valid": "ERR_CERT_DATE_INVALID",
    "root-expired": "ERR_CERT_DATE_INVALID",
    "validity-too-long": "ERR_CERT_VALIDITY_TOO_LONG",
}


def elsewhere_findings(
    host: str,
    visit: Visit,
    parse: Callable[[bytes], Certificate],
    assess: Assess,
    now: datetime,
) -> Iterator[Finding]:
    """Yield ``redirect-broken`` for the first server whose certificate browsers refuse."""
    for other in visit.elsewhere:
        # Only redirects of this endpoint count: other hosts are responsible for theirs.
        if urlsplit(other.by).hostname != host:
            continue
        found = list(_findings(other, visit.address, parse, assess, now))
        codes = {f.code for f in found if f.severity == Severity.CRITICAL}
        problem = next((c for c in _ERRORS if c in codes), None)
        if problem is not None:
            yield finding(
                "redirect-broken",
                (visit.address,),
                url=other.by,
                to=other.url,
                why=dead_ends.CERTIFICATE,
                problem=problem,
                advice=ADVICE,
                browser_error=_ERRORS[problem],
            )
            return


def elsewhere_dates(
    visits: Sequence[Visit], parse: Callable[[bytes], Certificate]
) -> Iterator[datetime]:
    """Yield the times at which :func:`elsewhere_findings` may change."""
    for other in (o for v in visits for o in v.elsewhere):
        leaf, *issuers = map(parse, other.chain)
        if leaf.not_before is not None and leaf.not_after is not None:
            yield from change_dates(leaf.not_before, leaf.not_after)
        yield from (d for c in issuers for d in (c.not_before, c.not_after) if d is not None)


def _findings(
    other: Elsewhere,
    address: str,
    parse: Callable[[bytes], Certificate],
    assess: Assess,
    now: datetime,
) -> Iterator[Finding]:
    chain = tuple(map(parse, other.chain))
    at = (address,)
    verdict = assess(chain)
    yield from date_findings(chain[0], now, at)
    yield from leaf_findings(chain[0], urlsplit(other.url).hostname or "", verdict, at)
    yield from issuer_date_findings(verdict, now, at)
    yield from path_findings(verdict, at, explained=False)
