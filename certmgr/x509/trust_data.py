"""Loading and replacing of the trust rules.

The rules ship in the package. ``certmgr trust update`` writes a replacement to the data directory.
The newer of the two is used. Rules from reports of the CCADB are kept apart from it (``origin``),
so that a newer release does not discard them.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import platformdirs

from certmgr.files import write_whole
from certmgr.x509.ccadb import is_report, read_report
from certmgr.x509.pem_text import as_bytes_of_text
from certmgr.x509.trust_rules import TrustRule, TrustRules, document_of, parse_rules
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular

BUILT_IN = Path(__file__).with_name("trust_rules.toml")
MAX_BYTES = 20_000_000
# The parser of TOML takes minutes for a key of 100,000 parts. Rules that people write are short.
MAX_TOML = 1_000_000  # characters
MAX_DOTS = 100  # in a line
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
        installed = parse_rules(_document(read_rules(path), str(path)), str(path))
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


def read_rules(path: Path) -> bytes:
    """Read a file of trust rules, or a report of the CCADB.

    Raises:
        CertmgrError: It cannot be read.
    """
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
        text = as_bytes_of_text(data).decode("utf-8")
        if text.lstrip().startswith("{"):
            document = json.loads(text)
        elif len(text) <= MAX_TOML and all(x.count(".") <= MAX_DOTS for x in text.split("\n")):
            document = tomllib.loads(text)
        else:
            problem = (
                f"a file in TOML has at most {MAX_TOML:,} characters, and {MAX_DOTS} dots in a line"
            )
            document = None
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
        # Rules from the CCADB come from another source, which the new file does not replace.
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
    return as_bytes_of_text(data).decode("utf-8", "replace")


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


def age(rules: TrustRules, now: datetime) -> timedelta:
    """Return the age of the data: since its day, or since the last update if that is later."""
    day = datetime(rules.day.year, rules.day.month, rules.day.day, tzinfo=UTC)
    return max(now - max(day, rules.updated or day), timedelta(0))
