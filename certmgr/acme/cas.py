"""The CAs that are known by name (cas.toml), those of the configuration, and what each allows.

Pure, but for reading the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from certmgr.config.acme import AcmeSettings, CaSettings
from inventory.errors import UsageError
from inventory.names import normalise_host
from inventory.text import printable

CAS_FILE = Path(__file__).with_name("cas.toml")
HOUR, DAY = 3600, 86_400


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``count`` within ``window`` seconds."""

    count: int
    window: int

    @classmethod
    def of(cls, text: str) -> RateLimit | None:
        """``50/7d``, ``300/3h``; empty for none."""
        if not text:
            return None
        count, _, window = text.partition("/")
        return cls(int(count), int(window[:-1]) * (HOUR if window.endswith("h") else DAY))

    def __str__(self) -> str:
        return (
            f"{self.count} in {self.window // DAY} d"
            if self.window % DAY == 0
            else f"{self.count} in {self.window // HOUR} h"
        )


@dataclass(frozen=True, slots=True)
class RateLimits:
    """``account``: new orders of an account.

    ``domain``: certificates of a registered domain. ``exact``: of the same set of names.
    ``failure``: failed authorizations of a name and account. None: not known.
    """

    account: RateLimit | None = None
    domain: RateLimit | None = None
    exact: RateLimit | None = None
    failure: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """``caa``: its names in CAA records.

    ``eab``: it wants an external account binding. ``profile``: asked for where nobody named one.
    ``ca_file``, ``internal``: as in the configuration. ``test``: nobody trusts its certificates.
    """

    name: str
    title: str
    directory: str
    caa: tuple[str, ...] = ()
    eab: bool = False
    eab_where: str = ""
    profile: str = ""
    max_names: int = 100
    limits: RateLimits = RateLimits()
    ca_file: str = ""
    internal: bool = False
    test: bool = False
    at_once: int = 0
    source: str = ""
    confirmed: bool = True


@lru_cache(maxsize=1)
def known() -> Mapping[str, CertificateAuthority]:
    found = {}
    for name, entry in tomllib.loads(CAS_FILE.read_text(encoding="utf-8")).items():
        limits = _limits(
            entry.get("per_account", ""),
            entry.get("per_domain", ""),
            entry.get("per_set", ""),
            entry.get("per_failure", ""),
        )
        found[name] = CertificateAuthority(
            name=name,
            title=entry["title"],
            directory=entry["directory"],
            caa=tuple(entry["caa"]),
            eab=bool(entry.get("eab")),
            eab_where=entry.get("eab_where", ""),
            profile=entry.get("profile", ""),
            max_names=int(entry.get("max_names", 100)),
            limits=limits,
            test=bool(entry.get("test")),
            source=entry["source"],
            confirmed=bool(entry["confirmed"]),
        )
    return found


def _limits(account: str, domain: str, exact: str, failure: str) -> RateLimits:
    return RateLimits(
        RateLimit.of(account), RateLimit.of(domain), RateLimit.of(exact), RateLimit.of(failure)
    )


def configured(name: str, own: CaSettings) -> CertificateAuthority:
    """A CA of the configuration; what it does not say is taken from the known one of that name."""
    base = known().get(name) or CertificateAuthority(name, name, own.directory)
    limits = RateLimits(
        RateLimit.of(own.per_account) or base.limits.account,
        RateLimit.of(own.per_domain) or base.limits.domain,
        RateLimit.of(own.per_set) or base.limits.exact,
        RateLimit.of(own.per_failure) or base.limits.failure,
    )
    return replace(
        base,
        directory=own.directory or base.directory,
        caa=own.caa or base.caa,
        eab=own.eab or base.eab,
        limits=limits,
        ca_file=own.ca_file,
        internal=own.internal,
        at_once=own.at_once,
    )


def every(acme: AcmeSettings) -> dict[str, CertificateAuthority]:
    return {**known(), **{name: configured(name, own) for name, own in acme.cas.items()}}


def find(acme: AcmeSettings, name: str, directory: str = "") -> CertificateAuthority:
    """The CA of this name, with another directory where one is given.

    Raises :class:`UsageError`.
    """
    found = every(acme)
    ca = found.get(name) or next(
        (c for c in found.values() if c.directory and c.directory == directory), None
    )
    if ca is None and directory:
        ca = CertificateAuthority(name or _host(directory), name or _host(directory), directory)
    if ca is None or not (directory or ca.directory):
        raise UsageError(
            f"'{printable(name, 60)}' is not a known CA",
            f"known are {', '.join(sorted(found))}",
            "Name one of them, or give --directory URL.",
        )
    return replace(ca, directory=checked(directory)) if directory else ca


def checked(directory: str) -> str:
    """Raises :class:`UsageError` for what is no https:// URL."""
    try:
        parts = urlsplit(directory)
        good = (
            parts.scheme == "https"
            and bool(normalise_host(parts.hostname or ""))
            and (parts.port or 443) > 0
        )
    except (ValueError, UsageError):
        good = False
    if (
        not good
        or parts.username
        or len(directory) > 1000
        or printable(directory, 1000) != directory
    ):
        raise UsageError(
            f"'{printable(directory, 80)}' is no directory URL",
            "ACME is spoken over TLS only (RFC 8555 6.1)",
            "Write https://HOST/PATH.",
        )
    return directory


def _host(directory: str) -> str:
    return urlsplit(checked(directory)).hostname or ""
