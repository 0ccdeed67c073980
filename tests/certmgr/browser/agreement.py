"""When certmgr agrees with Chromium, and the intended differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.certmgr.browser.demo_sites import DemoSituation, served_demo
from tests.certmgr.browser.judges import NOWHERE, Found, Program, Shown, Visitor, visitor
from tests.certmgr.browser.serving import Site
from tests.certmgr.browser.situations import Situation, served
from tests.servers.real import Answer, dns

# Critical by a rule of the program although the page opens: code -> reason. At most five
# differences are allowed, together with DIFFERENT.
CRITICAL_ALTHOUGH_OPEN = {
    "http-collects-secrets": "Chromium opens the page with 'Not secure'. Passwords and payment"
    " cards over plain HTTP are critical by the rule of January 2017.",
}
# Not critical although Chromium shows an error: code that must be found -> reason.
OPEN_ALTHOUGH_ERROR = {
    "client-certificate-required": "The administrator wants visitors without a certificate to be"
    " refused. It is a remark and not a fault.",
    "https-missing": "A port that refuses connections may belong to a site without any HTTPS."
    " Whether it must have HTTPS is a rule of the provider (compliance).",
    "page-missing": "Chromium shows an error for an empty 404. At a host that is named for"
    " programs (api.example.com) it is the usual answer, and a question to the administrator.",
    "connection-timeout": "A time-out may be due to the network of the scan. It is undetermined"
    " until it has lasted for three runs and 24 hours (unreachable).",
}
_UNKNOWN = (
    "OpenSSL ignores an extension that was not offered, if it does not know it. In messages that"
    " are encrypted, only a call per message would show it, and each handshake has 28 such calls."
    " Nothing else of the connection is unusual, so no other connection can be left to find it."
)
# Situation -> what certmgr does not know yet. A test fails as soon as one of them agrees.
GAPS: dict[str, str] = {
    "flights/encrypted-unknown-version-1.3": _UNKNOWN,
    "flights/entry-unknown-version-1.3": _UNKNOWN,
    "flights/request-with-context-version-1.3": "OpenSSL ignores the context of a request for a"
    " client certificate.",
    "flights/encrypted-hello-encrypted-garbage-version-1.3": "Only Chromium offers ECH, and so only"
    " it gets the answer to that. To offer it takes OpenSSL a further key generation.",
}
# Situation -> reason, for a difference that no code explains.
DIFFERENT: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Result:
    """One situation as both judge it.

    Attributes:
        disagreements: In words; empty if they agree.
        intended: The reason of an intended difference; empty if there is none.
    """

    situation: Situation
    shown: Shown
    found: Found
    disagreements: tuple[str, ...]
    intended: str = ""


def compare(situation: Situation, shown: Shown, found: Found) -> Result:
    """Compare what Chromium shows with what certmgr finds.

    The rules: a page that opens has no critical finding, and diagnose names no error page. An error
    page has a critical finding, and diagnose names its net error. A field for a password over plain
    HTTP is http-collects-secrets. A visit from HTTPS that ends over plain HTTP is
    redirect-insecure.
    """
    if situation.id in DIFFERENT:
        return Result(situation, shown, found, (), DIFFERENT[situation.id])
    wrong, intended = [], ""
    critical = found.critical()
    alone = {c for c, severity in found.alone.items() if severity == "critical"}
    # Which of several codes explains a fault may depend on the issuers that others sent.
    # A time-out is undetermined: on a busy machine a server may speak too late.
    late = "connection-timeout" in {*found.findings, *found.alone}
    if found.alone and bool(alone) != bool(critical) and not late:
        wrong.append(
            f"critical alone: {', '.join(sorted(alone)) or 'nothing'}; together with other sites:"
            f" {', '.join(sorted(critical)) or 'nothing'}"
        )
    if "verification-disputed" in found.findings:
        wrong.append("verification-disputed under a CA that the user chose")
    if found.failure:
        wrong.append(f"certmgr failed: {found.failure.strip()}")
    if "scanner-error" in found.findings:
        wrong.append("scanner-error")
    if shown.hsts is not None and shown.hsts == ("hsts-missing" in found.findings):
        wrong.append("HSTS is remembered" if shown.hsts else "HSTS is not remembered")
    if shown.mixed is not None and shown.mixed != ("mixed-content" in found.findings):
        wrong.append("mixed content" if shown.mixed else "no mixed content")
    if situation.scheme == "http":
        wrong += _over_plain_http(shown, critical)
        return Result(situation, shown, found, tuple(wrong))
    for code in critical & set(CRITICAL_ALTHOUGH_OPEN):
        intended = CRITICAL_ALTHOUGH_OPEN[code]
    critical -= set(CRITICAL_ALTHOUGH_OPEN)
    if not shown.error:
        if critical:
            wrong.append(f"the page opens, but is critical: {', '.join(sorted(critical))}")
        if found.named:
            wrong.append(f"the page opens, but diagnose names {found.named}")
        if shown.url.startswith("http:") and "redirect-insecure" not in found.findings:
            wrong.append("the visit ends over plain HTTP without redirect-insecure")
        return Result(situation, shown, found, tuple(wrong), intended)
    for code in set(found.findings) & set(OPEN_ALTHOUGH_ERROR):
        return Result(situation, shown, found, tuple(wrong), OPEN_ALTHOUGH_ERROR[code])
    if not critical:
        wrong.append(f"{shown.error}, but nothing is critical")
    if found.named != shown.error:
        wrong.append(f"{shown.error}, but diagnose names {found.named or 'no error page'}")
    return Result(situation, shown, found, tuple(wrong), intended)


def _over_plain_http(shown: Shown, critical: set[str]) -> list[str]:
    collects = "http-collects-secrets" in critical
    if shown.secret and not collects:
        return ["a field for secrets over plain HTTP without http-collects-secrets"]
    if collects and not shown.secret:
        return ["http-collects-secrets, but Chromium shows no field for secrets"]
    return []


class _ThisMachine(Mapping[str, Answer]):
    """The names of the situations, as a name server resolves them."""

    def __getitem__(self, name: str) -> Answer:
        if name.endswith(f".{NOWHERE}"):
            raise KeyError(name)
        return ["127.0.0.1"]

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class Court:
    """Both judges, ready for any of the situations for which they were made."""

    visitor: Visitor
    program: Program

    def judge(self, situations: Sequence[Situation]) -> list[Result]:
        """Serve situations together, let both judge them, and compare."""
        demo = isinstance(situations[0], DemoSituation)
        with (served_demo if demo else served)(situations) as sites:
            listed = zip(situations, sites, self.program.scan(situations, sites), strict=True)
            return [self._judge(*one) for one in listed]

    def _judge(self, situation: Situation, site: Site, found: Found) -> Result:
        port = site.https if situation.scheme == "https" else site.http
        shown = self.visitor.visit(
            f"{situation.scheme}://{situation.host}:{port}/",
            site.servers[0] if situation.silent else None,
        )
        if situation.hsts:
            plain = f"http://{situation.host}:{site.http}/"
            shown = replace(shown, hsts=self.visitor.remembers_hsts(plain))
        if situation.mixed:
            expected = "mixed-content" in found.findings
            url = f"https://{situation.host}:{port}/"
            mixed = self.visitor.reports_mixed_content(url, expected=expected)
            shown = replace(shown, mixed=mixed)
        # Without an error and without a finding of weight, diagnose has no error page to name.
        worth = shown.error or set(found.findings.values()) - {"low", "info"}
        if situation.scheme == "https" and worth:
            found = self.program.diagnose(situation, site, found)
        return compare(situation, shown, found)


@contextmanager
def court(situations: Iterable[Situation], folder: Path) -> Iterator[Court]:
    """Start Chromium with the CAs of all situations, and a name server."""
    with ExitStack() as stack:
        resolver = stack.enter_context(dns(_ThisMachine()))
        visits = stack.enter_context(visitor(t for s in situations for t in s.trust))
        yield Court(visits, Program(folder, resolver))
