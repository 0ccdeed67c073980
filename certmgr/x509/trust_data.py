"""Loading and replacing of the trust rules.

The rules ship in the package. ``certmgr trust update`` writes a replacement to the data directory.
The newer of the two is used. Rules from reports of the CCADB are kept apart from it (``origin``),
so that a newer release does not discard them.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from time import monotonic
from urllib.parse import urljoin, urlsplit

import certifi
import platformdirs
import urllib3

from certmgr.files import write_whole
from certmgr.x509.ccadb import is_report, read_report
from certmgr.x509.trust_rules import TrustRule, TrustRules, document_of, parse_rules
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular
from inventory.text import printable

BUILT_IN = Path(__file__).with_name("trust_rules.toml")
MAX_BYTES = 20_000_000
_SECONDS = 60.0
_PIECE = 65_536
MAX_REDIRECTS = 3
OLD_AFTER = timedelta(days=90)
"""From this age on, the data is called old: browsers publish new dates every few months."""


def rules_path(configured: str) -> Path:
    """Return the path of the replacement; ``configured`` is [trust] rules."""
    if configured:
        return Path(configured)
    return Path(platformdirs.user_data_dir("certmgr")) / "trust-rules.json"


@lru_cache(maxsize=1)
def built_in() -> TrustRules:
    """Return the rules that ship with certmgr."""
    return parse_rules(tomllib.loads(BUILT_IN.read_text(encoding="utf-8")), "built-in")


def load_rules(path: Path | None) -> TrustRules:
    """Return the rules in force: the newer of the built-in and the installed ones.

    Args:
        path: The installed file, which may be missing; None: only the built-in rules.

    Raises:
        CertmgrError: The installed file is damaged.
    """
    if path is None or not path.exists():
        return built_in()
    try:
        installed = parse_rules(_document(_read(path), str(path)), str(path))
    except UsageError as error:
        # Falling back silently would drop rules that an administrator installed.
        raise CertmgrError(
            f"The trust rules in {path} cannot be used",
            error.why,
            "Install them again with certmgr trust update, or return to the built-in rules with"
            " certmgr trust reset.",
        ) from None
    return _in_force(installed)


def _in_force(installed: TrustRules) -> TrustRules:
    # Of two of one day, the installed one is in force.
    base = max(installed, built_in(), key=lambda r: r.day)
    reports = [r for r in installed.rules if r.origin]
    rules = [*[r for r in base.rules if not r.origin], *reports]
    version = base.version
    if reports:
        # Two reports of one day may differ, so the version has a digest too.
        version = f"{version}+ccadb.{installed.updated:%Y%m%d}.{digest(reports)[:6]}"
    return TrustRules(version, base.day, rules, installed.source, installed.updated)


def digest(rules: Sequence[TrustRule]) -> str:
    """Return a hash of rules."""
    return hashlib.sha256("\n".join(sorted(map(_stable, rules))).encode()).hexdigest()


def _stable(rule: TrustRule) -> str:
    values = (sorted(v) if isinstance(v, frozenset) else v for v in _values(rule))
    return repr(tuple(values))


def _values(rule: TrustRule) -> list[object]:
    return [getattr(rule, name) for name in TrustRule.__dataclass_fields__]


def _read(path: Path) -> bytes:
    data = read_regular(path, MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{path} is too large",
            f"the limit is {MAX_BYTES // 1_000_000} MB",
            "Name a file of trust rules, or a report of the CCADB.",
        )
    return data


def _document(data: bytes, what: str) -> dict[str, object]:
    """Parse TOML or JSON."""
    problem = "it is neither TOML nor JSON"
    try:
        text = data.decode("utf-8-sig")
        document = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        if isinstance(document, dict):
            return document
    # RecursionError: thousands of nested brackets.
    except (ValueError, RecursionError):
        pass
    raise UsageError(
        f"{what} is not a file of trust rules",
        problem,
        "Name a file of trust rules, or a report of the CCADB in CSV.",
    )


# -- replacing


@dataclass(frozen=True, slots=True)
class TrustUpdate:
    """The result of an update.

    Attributes:
        before: The rules until now.
        after: The rules from now on.
        kind: ``rules``, or the name of the report.
        roots: How many roots the report names; 0 for rules.
    """

    before: TrustRules
    after: TrustRules
    kind: str
    roots: int = 0

    @property
    def added(self) -> list[TrustRule]:
        """The rules that are new or changed."""
        old = set(self.before.rules)
        return [r for r in self.after.rules if r not in old]

    @property
    def dropped(self) -> list[TrustRule]:
        """The rules that no longer exist, or were changed."""
        new = set(self.after.rules)
        return [r for r in self.before.rules if r not in new]


def prepare(
    data: bytes, what: str, path: Path, now: datetime, *, force: bool = False
) -> tuple[TrustUpdate, bytes]:
    """Validate new data completely, and return the update with the file to install.

    Args:
        data: A file of trust rules (TOML or JSON), or a report of the CCADB (CSV).
        what: Names the data in errors.
        path: The installed file.
        now: The current time.
        force: Whether older rules may replace newer ones.

    Raises:
        UsageError: The data is invalid, or older than the rules in force.
    """
    before = load_rules(path)
    text = _text(data, what)
    if is_report(text):
        report, found, roots = read_report(text, what, now)
        kept = [r for r in before.rules if not r.origin.endswith(f":{report}")]
        base_version = before.version.partition("+ccadb")[0]
        new = TrustRules(base_version, before.day, [*kept, *found], str(path), now)
        kind = report
    else:
        new = parse_rules(_document(data, what), what)
        if any(r.origin for r in new.rules):
            raise UsageError(
                f"{what} is not a file of trust rules",
                "a rule has an origin, which only reports of the CCADB give",
                "Remove the key origin.",
            )
        if new.day > (now + timedelta(days=2)).date():
            raise UsageError(
                f"{what} cannot be installed",
                f"its date {new.day} is in the future",
                "Correct its date.",
            )
        # Rules older than the built-in ones would never be in force.
        if new.day < before.day and (not force or new.day < built_in().day):
            raise UsageError(
                f"{what} is older than the rules in force",
                f"it is of {new.day}, and they are of {before.day} (version {before.version})",
                "Give a newer file. With --force, rules that are as new as those of this version of"
                " certmgr may replace newer ones.",
            )
        reports = [r for r in before.rules if r.origin]
        new = TrustRules(new.version, new.day, [*new.rules, *reports], str(path), now)
        kind, roots = "rules", 0
    installed = (json.dumps(document_of(new), indent=1) + "\n").encode()
    # What was written must be readable, or every later command would fail.
    checked = _in_force(parse_rules(json.loads(installed), what))
    after = TrustRules(checked.version, checked.day, checked.rules, str(path), now)
    return TrustUpdate(before, after, kind, roots), installed


def _text(data: bytes, what: str) -> str:
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{what} is too large", f"the limit is {MAX_BYTES // 1_000_000} MB", "Check the file."
        )
    return data.decode("utf-8-sig", "replace")


def install(path: Path, data: bytes) -> None:
    """Replace the installed file completely, or leave it unchanged."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CertmgrError(
            f"{path} cannot be written",
            error.strerror or "its directory cannot be created",
            "Set [trust] rules to a file in a directory with write permission.",
        ) from None
    # Other users of the machine may run scans; the rules are public.
    write_whole(path, data, 0o644)


def uninstall(path: Path) -> None:
    """Remove the installed file, so that the built-in rules are in force."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CertmgrError(
            f"{path} cannot be removed",
            error.strerror or "the system refused it",
            "Remove it as its owner.",
        ) from None


def read_source(source: str, ca_files: Sequence[str] = ()) -> bytes:
    """Read a file, or download a URL.

    Raises:
        CertmgrError: It cannot be read.
    """
    if "://" not in source:
        return _read(Path(source))
    return fetch(source, ca_files)


def fetch(url: str, ca_files: Sequence[str] = (), seconds: float = _SECONDS) -> bytes:
    """Download a URL over https, bounded in size and time.

    Args:
        url: The URL; plain http is refused, since the rules decide what is trusted.
        ca_files: PEM files with trust anchors in addition to those of browsers.
        seconds: The limit for the whole transfer.

    Raises:
        CertmgrError: It cannot be downloaded.
    """
    context = ssl.create_default_context(cafile=certifi.where())
    for name in ca_files:
        try:
            context.load_verify_locations(name)
        except (OSError, ssl.SSLError):
            raise UsageError(
                f"The CA file {printable(name, 200)} cannot be used",
                "it cannot be read, or has no certificate",
                "Correct [trust] ca_files.",
            ) from None
    end, shown = monotonic() + seconds, printable(url, 200)
    try:
        with urllib3.PoolManager(ssl_context=context) as pool:
            for _ in range(MAX_REDIRECTS + 1):
                _require_https(url)
                answer = _get(pool, url, shown, end)
                if isinstance(answer, bytes):
                    return answer
                url = urljoin(url, answer)
    except urllib3.exceptions.HTTPError as error:
        raise _failed(shown, _reason(error)) from None
    except (OSError, ValueError):
        raise _failed(shown, "the connection failed") from None
    raise _failed(shown, "it redirects too often")


def _require_https(url: str) -> None:
    if urlsplit(url).scheme != "https":
        raise UsageError(
            f"{printable(url, 200)} is not downloaded",
            "only https:// proves where the data comes from",
            "Give an https:// URL, or the path of a file.",
        )


def _get(pool: urllib3.PoolManager, url: str, shown: str, end: float) -> bytes | str:
    """Return the body, or the address to which the answer redirects."""
    pieces, size = [], 0
    with pool.request(
        "GET",
        url,
        preload_content=False,
        redirect=False,
        retries=False,
        timeout=urllib3.Timeout(connect=10, read=20),
    ) as response:
        if response.status in (301, 302, 303, 307, 308):
            return response.headers.get("Location", "")
        if response.status != 200:
            raise _failed(shown, f"the server answered with HTTP {response.status}")
        for piece in response.stream(_PIECE, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BYTES:
                raise _failed(shown, f"it is larger than {MAX_BYTES // 1_000_000} MB")
            # A time-out per read would restart with every byte of a slow server.
            if monotonic() > end:
                raise _failed(shown, "it did not complete in time")
    return b"".join(pieces)


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    """Return what happened, without the wording of the library."""
    inner = getattr(error, "reason", None) or error
    if isinstance(inner, urllib3.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(inner, urllib3.exceptions.NameResolutionError):
        return "its host name does not resolve"
    # A refused connection is a kind of time-out to the library.
    if isinstance(inner, urllib3.exceptions.TimeoutError) and not isinstance(
        inner, urllib3.exceptions.NewConnectionError
    ):
        return "the server did not answer in time"
    return "the connection failed"


def _failed(what: str, why: str) -> CertmgrError:
    return CertmgrError(
        f"{what} cannot be downloaded", why, "Download it by hand, and give the path of the file."
    )


def age(rules: TrustRules, now: datetime) -> timedelta:
    """Return the age of the data: since its day, or since the last update if that is later."""
    day = datetime(rules.day.year, rules.day.month, rules.day.day, tzinfo=UTC)
    return max(now - max(day, rules.updated or day), timedelta(0))
