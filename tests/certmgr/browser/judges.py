"""What Chromium shows at a site, and what certmgr finds there."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from certmgr.demo.servers import Server
from inventory.clock import system_clock
from inventory.names import as_ip
from tests.campaign import UNREACHED, time_limits
from tests.certmgr.browser.pki import Trust
from tests.certmgr.browser.serving import Site
from tests.certmgr.browser.situations import Situation
from tests.program import Ran, run
from tests.servers.chromium import Browser

# Names below it resolve nowhere, neither for Chromium nor for certmgr. All others are this machine.
NOWHERE = "nowhere.test"
RULES = f"MAP *.{NOWHERE} ~NOTFOUND, MAP * 127.0.0.1"

# The state of the page: whether it is loaded, its URL, and whether it shows a field for a password
# or for the number of a payment card, in frames and shadow roots too.
_STATE = """(() => {
    const secret = 'input[type=password], [autocomplete~=cc-number]';
    // SVG has elements of the same name, which are no fields.
    const field = e => e instanceof e.ownerDocument.defaultView.HTMLElement;
    const shows = root => !!root && ([...root.querySelectorAll(secret)].some(field) ||
        [...root.querySelectorAll('*')].some(e => shows(e.shadowRoot) ||
            (e.tagName === 'IFRAME' && shows(e.contentDocument))));
    return JSON.stringify([document.readyState, document.location.href, shows(document)]);
})()"""
_A_MOMENT: dict[str, Any] = {
    "expression": "new Promise(done => setTimeout(done, 100))",
    "awaitPromise": True,
}
# Chromium checks for a captive portal before it shows such an error, which takes three seconds.
_DELAYED = "ERR_CERT_"


@dataclass(frozen=True, slots=True)
class Shown:
    """What Chromium shows.

    Attributes:
        error: The net error, such as ERR_CERT_DATE_INVALID; empty if a page opens.
        url: The URL at which the visit ends.
        secret: Whether the page shows a field for a password or a payment card.
        hsts: Whether the browser remembers HSTS for the host; None if it was not asked.
        mixed: Whether the browser reports mixed content; None if it was not asked.
    """

    error: str = ""
    url: str = ""
    secret: bool = False
    hsts: bool | None = None
    mixed: bool | None = None


def _is_mixed(issue: dict[str, Any]) -> bool:
    """Return whether an issue of the browser is about a part of a page without encryption."""
    details = issue["details"].get("mixedContentIssueDetails")
    if issue["code"] != "MixedContentIssue" or details is None:
        return False
    # A warning about anything but a form is about an address of this machine, which is trusted.
    warned = details["resolutionStatus"] == "MixedContentWarning"
    return not warned or details.get("resourceType") == "Form"


class Visitor:
    """A Chromium that visits one URL at a time."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._unfinished = False

    def visit(self, url: str, silent: Server | None = None) -> Shown:
        """Open a URL and wait until a page or an error page is there.

        Args:
            url: The URL.
            silent: A server that never answers: the visit ends after it was asked.
        """
        if self._unfinished:
            self._browser.new_page()
        self._unfinished = True
        number = self._browser.send("Page.navigate", url=url)
        if silent is not None:
            while not silent.connections:
                assert self._browser.message().get("id") != number, "the silent server answered"
            return Shown("no answer")
        return self._follow(url, number)

    def remembers_hsts(self, url: str) -> bool:
        """Return whether the browser replaces http by https in a URL that serves a page.

        It keeps the port, which does not speak TLS.
        """
        number = self._browser.send("Page.navigate", url=url)
        self._unfinished = True
        while True:
            message = self._browser.message()
            if message.get("id") == number:
                return "errorText" in message["result"]

    def reports_mixed_content(self, url: str, *, expected: bool) -> bool:
        """Open a page, and return whether the browser upgrades, blocks or marks a part of it.

        Args:
            url: The URL.
            expected: Whether to wait for a report. It may come after the page is there.
        """
        browser = self._browser
        browser.new_page()
        browser.call("Audits.enable")
        browser.send("Page.navigate", url=url)
        self._unfinished = True
        loaded, waits, rounds = False, 0, 100 if expected else 2
        while waits < rounds:
            message = browser.message()
            given = message.get("params", {})
            if message.get("method") == "Audits.issueAdded" and _is_mixed(given["issue"]):
                return True
            # The page waits, and so the wait lasts longer on a busy machine. If the page was
            # replaced meanwhile, no answer comes, and the new one is asked.
            if message.get("method") == "Page.frameStoppedLoading":
                loaded, asked = True, browser.send("Runtime.evaluate", **_A_MOMENT)
            elif loaded and message.get("id") == asked:
                waits, asked = waits + 1, browser.send("Runtime.evaluate", **_A_MOMENT)
        return False

    def _follow(self, url: str, number: int) -> Shown:
        browser, leaving, asked, failed = self._browser, False, 0, ""
        documents, latest = set[str](), ""
        while True:
            message = browser.message()
            method, given = message.get("method"), message.get("params", {})
            # Not of a frame inside the page, such as the viewer of a PDF.
            own = given.get("frameId") == browser.target
            if own and method == "Network.requestWillBeSent" and given["type"] == "Document":
                documents.add(given["requestId"])
                latest, leaving = given["documentURL"], False
            elif method == "Network.loadingFailed" and given["requestId"] in documents:
                failed = given["errorText"].removeprefix("net::")
                if failed.startswith(_DELAYED):
                    return Shown(failed, url)
            elif method == "Page.frameScheduledNavigation":
                # A refresh. One with a delay, or of a document inside the page, is not waited for.
                leaving = given["delay"] < 1 if own else leaving
            elif method == "Page.frameStoppedLoading" and own:
                if not leaving:
                    asked = browser.send("Runtime.evaluate", expression=_STATE, returnByValue=True)
            elif message.get("id") == number:
                if error := message["result"].get("errorText"):
                    return Shown(error.removeprefix("net::"), url)
            elif asked and message.get("id") == asked and "result" not in message:
                # The page was replaced meanwhile.
                asked = browser.send("Runtime.evaluate", expression=_STATE, returnByValue=True)
            elif asked and message.get("id") == asked:
                state, final, secret = json.loads(message["result"]["result"]["value"])
                # A failure within the body leaves the page. The next page may have begun to load
                # before the answer.
                final = final.partition("#")[0]
                shows_error = bool(failed) and final.startswith("chrome-error:")
                if shows_error or (final == latest and (state == "complete" or failed)):
                    # Events of an error page come late, so the next visit needs a new page.
                    self._unfinished = shows_error
                    return Shown(failed, url) if shows_error else Shown("", final, secret)


def nss_database(home: Path, trust: Iterable[Trust]) -> None:
    """Create the NSS database of a home directory with these CAs."""
    folder = home / ".pki" / "nssdb"
    folder.mkdir(parents=True)
    subprocess.run(["certutil", "-N", "-d", f"sql:{folder}", "--empty-password"], check=True)
    batch = home / "batch"
    lines = []
    for number, one in enumerate({t.der: t for t in trust}.values()):
        (home / f"{number}.der").write_bytes(one.der)
        lines.append(f"-A -n ca{number} -t {one.flags} -i {home}/{number}.der\n")
    batch.write_text("".join(lines))
    subprocess.run(["certutil", "-B", "-d", f"sql:{folder}", "-i", str(batch)], check=True)


@contextmanager
def visitor(trust: Iterable[Trust]) -> Iterator[Visitor]:
    """Run a Chromium that trusts these CAs."""
    with tempfile.TemporaryDirectory(
        prefix="certmgr-browser-", ignore_cleanup_errors=True
    ) as folder:
        home = Path(folder)
        nss_database(home, trust)
        browser = Browser(home / "profile", (f"--host-resolver-rules={RULES}",), home)
        try:
            yield Visitor(browser)
        finally:
            browser.close()


@dataclass(frozen=True, slots=True)
class Found:
    """What certmgr finds.

    Attributes:
        findings: Severity by code, of the scan together with other sites.
        alone: Severity by code, of the diagnosis of this site alone; empty if it was not needed.
        named: The net error that ``diagnose`` names for Chrome; empty if it names no error page.
        chrome: What ``diagnose`` prints for Chrome.
        failure: Why a command failed; empty if both gave a result.
    """

    findings: dict[str, str]
    alone: dict[str, str] = field(default_factory=dict)
    named: str = ""
    chrome: str = ""
    failure: str = ""

    def critical(self) -> set[str]:
        """Return the codes of severity critical."""
        return {c for c, severity in self.findings.items() if severity == "critical"}


# chrome://network-errors has another name than the page itself.
_NAMES = {"DNS_PROBE_FINISHED_NXDOMAIN": "ERR_NAME_NOT_RESOLVED"}


def net_error(chrome: str) -> str:
    """Return the net error that a text of ``diagnose`` names; empty if it names no error page."""
    match = re.match(r"an error page(?: at [^:]+(?:, [^:]+)*)?: (?:NET::)?([A-Z_0-9]+)", chrome)
    return _NAMES.get(match[1], match[1]) if match else ""


class Program:
    """The program ``certmgr`` as a user calls it, with the name server of the situations."""

    def __init__(self, folder: Path, resolver: str) -> None:
        self._folder = folder
        (folder / "certmgr.toml").write_text(
            f"[scan]\nper_address = 0\nrate = 0.0\ntimeout = {UNREACHED}\n"
            f'resolvers = ["{resolver}"]\n'
            '[network]\nallow = ["127.0.0.0/8"]\n'
            "[http]\nper_address = 0\nrate = 0.0\n"
        )

    def _call(self, *arguments: str) -> Ran:
        config, database = self._folder / "certmgr.toml", self._folder / "none.db"
        options = ("--config", str(config), "--database", str(database))
        return run((*options, *arguments), system_clock)

    def _options(self, situations: Sequence[Situation], sites: Sequence[Site]) -> list[str]:
        ca_file = self._folder / "ca.pem"
        ca_file.write_text("".join({t.pem: None for s in situations for t in s.trust}))
        resolved = {
            (host, port): None
            for situation, site in zip(situations, sites, strict=True)
            for host in (situation.host, *situation.aliases)
            for port in (site.https, site.http)
            if as_ip(host) is None
        }
        return [
            f"--ca-file={ca_file}",
            f"--http-port={sites[0].http}",
            "--format=json",
            *(f"--resolve={host}:{port}:127.0.0.1" for host, port in resolved),
        ]

    def scan(self, situations: Sequence[Situation], sites: Sequence[Site]) -> list[Found]:
        """Scan sites together, and diagnose each that is not fine by itself."""
        targets = [f"{site.host}:{site.https}" for site in sites]
        silent = {s.host for s in situations if s.silent}
        for limit in time_limits(1.5) if silent else [UNREACHED]:
            options = (f"--timeout={limit}", *self._options(situations, sites))
            scan = self._call("scan", *targets, *options)
            if scan.code not in (0, 1, 3) or not scan.out:
                return [Found({}, failure=scan.err or f"exit code {scan.code}") for _ in sites]
            found = [
                Found({f["code"]: f["severity"] for f in endpoint["findings"]})
                for endpoint in scan.json["endpoints"]
            ]
            pairs = zip(sites, found, strict=True)
            late = {site.host for site, f in pairs if "connection-timeout" in f.findings}
            if late <= silent:
                break
        return found

    def diagnose(self, situation: Situation, site: Site, found: Found) -> Found:
        """Diagnose one site, and add the result to that of the scan."""
        url = f"https://{site.host}:{site.https}/"
        limit = f"--timeout={1.5 if situation.silent else UNREACHED}"
        diagnosis = self._call("diagnose", url, limit, *self._options([situation], [site]))
        if diagnosis.code not in (0, 1) or not diagnosis.out:
            return replace(found, failure=diagnosis.err or f"exit code {diagnosis.code}")
        chrome: Any = diagnosis.json["chrome"]
        alone = {f["code"]: f["severity"] for f in diagnosis.json["findings"]}
        return replace(found, named=net_error(chrome), chrome=chrome, alone=alone)
