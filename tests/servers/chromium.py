"""Headless Chromium over the DevTools pipe: pages from files, axe-core, screenshots.

It uses no network and no driver.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.campaign import PATIENCE
from tests.servers.processes import stop

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--mute-audio",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
# Fewer processes, and none of the services that judge no page: they took a third of the CPU of a
# visit. Sites stay isolated, since that decides what frames without scripts may load.
CHEAP = (
    "--renderer-process-limit=1",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-domain-reliability",
    "--disable-hang-monitor",
    "--metrics-recording-only",
    "--no-pings",
    "--password-store=basic",
    "--disable-features=ProactivelySwapBrowsingInstance,BackForwardCache,RenderDocument,Translate"
    ",OptimizationHints,MediaRouter,AutofillServerCommunication,SegmentationPlatform"
    ",HistoryEmbeddings,PageContentAnnotations,OptimizationGuideModelDownloading"
    ",NetworkTimeServiceQuerying,LoadingPredictor,PreconnectToSearch",
)
# A port that Chromium opens no connection to.
_ERROR_PAGE = "http://127.0.0.1:1/"
# A field is an element of HTML: XML and SVG have elements of the same name.
_HAS_PASSWORD = """(() => {
  const has = (root) => [...root.querySelectorAll('*')].some((e) =>
    (e instanceof e.ownerDocument.defaultView.HTMLInputElement && e.type === 'password')
    || (e.shadowRoot && has(e.shadowRoot))
    || (e.contentDocument && has(e.contentDocument)));
  return has(document);
})()"""
ALL_HOSTS_HERE = "--host-resolver-rules=MAP * 127.0.0.1"
AXE = Path(__file__).parents[1] / "axe" / "node_modules" / "axe-core" / "axe.min.js"


class Browser:
    """A browser with one page. :meth:`call` calls methods of the DevTools protocol.

    Args:
        folder: The profile.
        flags: Further flags, which override those of all tests.
        home: The home directory, whose NSS database holds further CAs. Default: the profile.
        drawn: Whether the page is drawn, for screenshots and audits. A page without a window
            judges connections, certificates and answers in the same way, for half of the CPU.

    Attributes:
        patience: Seconds without any answer or event after which the browser counts as stuck.
    """

    patience = PATIENCE

    def __init__(
        self,
        folder: Path,
        flags: Sequence[str] = (),
        home: Path | None = None,
        *,
        drawn: bool = False,
    ) -> None:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        assert path, "chromium is missing: apt-get install chromium (make test does it as root)"
        commands_read, self._out = os.pipe()
        self._in, answers_write = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4. The pipes get higher numbers
        # first, so that dup2 cannot overwrite them.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (commands_read, answers_write)]
        # Popen reports a failure through a pipe, which must not get descriptor 3 or 4 either.
        reserved = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
        self._process = subprocess.Popen(
            [
                path,
                *FLAGS,
                *(() if drawn else CHEAP),
                *flags,
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # No page depends on the clock, and Chromium spins under libfaketime (tools/clocks.py).
            env={
                **{k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "FAKETIME")},
                # The certificates that it trusts are in the home folder: see trusting_browser.
                "HOME": str(home or folder),
            },
            preexec_fn=lambda: [os.dup2(fd, n) for n, fd in zip((3, 4), ends, strict=True)],
        )
        for fd in (commands_read, answers_write, *ends, *reserved):
            os.close(fd)
        self._buffer = b""
        self._number = 0
        self._visited = "its start"
        # Ids of the pages that were loaded, and of the requests that failed. The request of a page
        # has its id.
        self._loaded: set[str] = set()
        self._failed: set[str] = set()
        self._session: str | None = None
        self.requests: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        self.target = next(t["targetId"] for t in targets if t["type"] == "page")
        self._attach()
        if not drawn:
            # The window stays: Chromium may end with its last one. It shows an error page, since
            # the process of error pages would else start for each of them.
            self.error(_ERROR_PAGE)
            self._create_page()

    def _attach(self) -> None:
        self._session = None
        self._session = self.call("Target.attachToTarget", targetId=self.target, flatten=True)[
            "sessionId"
        ]
        self.call("Page.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)
        self.call("Network.enable")

    def _create_page(self) -> None:
        self._session = None
        created = self.call("Target.createTarget", url="about:blank", hidden=True)
        self.target = created["targetId"]
        self._attach()

    def new_page(self) -> None:
        """Replace the page by a new one, from which no event of the old one comes."""
        old = self.target
        self._create_page()
        session, self._session = self._session, None
        self.send("Target.closeTarget", targetId=old)
        self._session = session

    def message(self) -> dict[str, Any]:
        """Wait for the next answer or event of the page and return it."""
        while True:
            message = self._any_message()
            if self._session is None or message.get("sessionId") == self._session:
                return message

    def _any_message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            # Any event is progress. A visit may last as long as events come.
            assert select.select([self._in], [], [], self.patience)[0], (
                f"chromium sent nothing for {self.patience:.0f} s after {self._visited}"
            )
            data = os.read(self._in, 1 << 20)
            assert data, "chromium ended"
            self._buffer += data
        text, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        parameters = message.get("params", {})
        if message.get("method") == "Page.lifecycleEvent" and parameters["name"] == "load":
            self._loaded.add(parameters["loaderId"])
        elif message.get("method") == "Network.loadingFailed":
            self._failed.add(parameters["requestId"])
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message

    def send(self, method: str, **parameters: Any) -> int:
        """Call a method without waiting, and return the number of the call."""
        self._number += 1
        if method == "Page.navigate":
            self._visited = parameters["url"]
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        return self._number

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method and return its result."""
        number = self.send(method, **parameters)
        while True:
            answer = self.message()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(
        self,
        path: Path,
        *,
        dark: bool = False,
        media: str = "screen",
        width: int = 1000,
        scripts: bool = True,
    ) -> None:
        """Load a file and wait until it is loaded.

        Args:
            path: The file.
            dark: Whether the browser prefers a dark color scheme.
            media: screen or print.
            width: The width of the window in pixels.
            scripts: Whether scripts may run that the page's policy forbids.
        """
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call("Page.setBypassCSP", enabled=scripts)  # axe is a script, and the page allows none
        self.requests.clear()
        loader = self.call("Page.navigate", url=path.resolve().as_uri())["loaderId"]
        # Not the next Page.loadEventFired: on a busy machine, the event of the page before comes
        # late, and what is then evaluated ends with the old page, without an answer.
        while loader not in self._loaded:
            self.message()

    def visit(self, url: str) -> tuple[str, bool]:
        """Load a URL, and wait until the page is shown or replaced by an error page.

        Returns:
            The code of the error, such as ERR_EMPTY_RESPONSE; an empty text without one. With
            ERR_ABORTED the page before stays. And whether the page has a password field, in its
            shadow roots and frames too.
        """
        result = self.call("Page.navigate", url=url)
        if "errorText" in result:
            return str(result["errorText"]).removeprefix("net::"), False
        page = result["loaderId"]
        while page not in self._loaded | self._failed:
            self.message()
        # After an error in the body, the parser may still have to read what came before.
        wait = "" if page in self._loaded else "await new Promise((r) => setTimeout(r, 100));"
        return "", bool(self.evaluate(f"(async () => {{ {wait} return {_HAS_PASSWORD} }})()"))

    def error(self, url: str) -> str:
        """Open a URL and return the code of the error page; an empty text if the page opens."""
        result = self.call("Page.navigate", url=url)
        return str(result.get("errorText", "")).removeprefix("net::")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def violations(self) -> list[Mapping[str, Any]]:
        """Return the violations that axe-core finds on the page: rule and elements."""
        assert AXE.is_file(), f"axe-core is missing: npm ci in {AXE.parents[2]} (make test does it)"
        self.evaluate(AXE.read_text(encoding="utf-8"))
        run = (
            "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => ({id:"
            " v.id, nodes: v.nodes.map(n => n.html.slice(0, 150))})))"
        )
        found: list[Mapping[str, Any]] = self.evaluate(run)
        return found

    def picture(self, path: Path, height: int | None = None) -> None:
        """Write the page as PNG, with at most ``height`` pixels of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": min(size["height"], height or 20_000),
            "scale": 1,
        }
        data = self.call(
            "Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True
        )["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """End the browser."""
        with suppress(OSError):
            os.close(self._out)
        stop(self._process)
        os.close(self._in)


@contextmanager
def browser(*flags: str, drawn: bool = False) -> Iterator[Browser]:
    """Run a browser with an empty profile. The flags override those of all tests."""
    with tempfile.TemporaryDirectory(
        prefix="certmgr-chromium-", ignore_cleanup_errors=True
    ) as folder:
        opened = Browser(Path(folder), flags, drawn=drawn)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def trusting_browser(folder: Path, *anchors: bytes) -> Iterator[Browser]:
    """Run a browser that finds all hosts on loopback, and trusts the given CAs.

    Chromium on Linux reads the anchors of a user from an NSS database.

    Args:
        folder: An empty folder for its profile and the database.
        anchors: CA certificates as DER.
    """
    certutil = shutil.which("certutil")
    assert certutil, "certutil is missing: apt-get install libnss3-tools (make test does it)"
    store = folder / ".pki" / "nssdb"
    store.mkdir(parents=True)
    database = ("-d", f"sql:{store}")
    subprocess.run([certutil, "-N", *database, "--empty-password"], check=True)
    for number, anchor in enumerate(anchors):
        path = folder / f"anchor-{number}.der"
        path.write_bytes(anchor)
        options = ("-n", path.stem, "-t", "C,,", "-i", str(path))
        subprocess.run([certutil, "-A", *database, *options], check=True)
    opened = Browser(folder, (ALL_HOSTS_HERE,))
    try:
        yield opened
    finally:
        opened.close()
