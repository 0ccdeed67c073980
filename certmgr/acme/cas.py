"""The known CAs (cas.toml), those of the configuration, and their rate limits.

Pure, except that it reads the file.
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
# Let's Encrypt states its limits in hours and days (letsencrypt.org/docs/rate-limits).
HOUR, DAY = 3600, 86_400


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``count`` within ``window`` seconds."""

    count: int
    window: int

    @classmethod
    def parse(cls, text: str) -> RateLimit | None:
        """Parse a limit such as ``50/7d`` or ``300/3h``; return None for an empty text."""
        # A CA that publishes no limits is never held back by this program.
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
    """The rate limits of a CA. None stands for an unknown limit.

    Attributes:
        account: New orders per account.
        domain: Certificates per registered domain.
        exact: Certificates per exact set of names.
        failure: Failed authorizations per name and account.
    """

    account: RateLimit | None = None
    domain: RateLimit | None = None
    exact: RateLimit | None = None
    failure: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A CA that speaks ACME.

    Attributes:
        name: Its name in the configuration and on the command line.
        title: Its display name.
        directory: The URL of its directory.
        caa: Its names in CAA records.
        eab: Whether it requires an external account binding.
        eab_where: The page that shows the id and key of the binding.
        profile: The profile to request if the administrator names none.
        max_names: The maximum number of names per certificate.
        limits: Its rate limits.
        ca_file: PEM file that verifies its TLS certificate, from the configuration.
        internal: Whether its URLs may lead to internal addresses, from the configuration.
        test: Whether its certificates are for tests only and not publicly trusted.
        at_once: The maximum number of parallel orders; 0 for the configured default.
        source: The document that states these facts.
        confirmed: Whether the facts were read from the source; False if written from memory.
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
    """Return the CAs of cas.toml by name."""
    cas = {}
    for name, entry in tomllib.loads(CAS_FILE.read_text(encoding="utf-8")).items():
        limits = _limits(
            entry.get("per_account", ""),
            entry.get("per_domain", ""),
            entry.get("per_set", ""),
            entry.get("per_failure", ""),
        )
        cas[name] = CertificateAuthority(
            name=name,
            title=entry["title"],
            directory=entry["directory"],
            caa=tuple(entry["caa"]),
            eab=bool(entry.get("eab")),
            eab_where=entry.get("eab_where", ""),
            profile=entry.get("profile", ""),
            # Let's Encrypt allows 100 names (25 under the profile tlsserver); other CAs rarely
            # allow more.
            max_names=int(entry.get("max_names", 100)),
            limits=limits,
            test=bool(entry.get("test")),
            source=entry["source"],
            # Facts from memory are shown as unconfirmed, and never decide silently.
            confirmed=bool(entry["confirmed"]),
        )
    return cas


def _limits(account: str, domain: str, exact: str, failure: str) -> RateLimits:
    return RateLimits(
        RateLimit.parse(account),
        RateLimit.parse(domain),
        RateLimit.parse(exact),
        RateLimit.parse(failure),
    )


def configured(name: str, settings: CaSettings) -> CertificateAuthority:
    """Return a CA of the configuration, completed from the known CA of the same name."""
    # A table of the configuration completes a known CA, for example with a CA file, or defines
    # another.
    base = known().get(name) or CertificateAuthority(name, name, settings.directory)
    limits = RateLimits(
        RateLimit.parse(settings.per_account) or base.limits.account,
        RateLimit.parse(settings.per_domain) or base.limits.domain,
        RateLimit.parse(settings.per_set) or base.limits.exact,
        RateLimit.parse(settings.per_failure) or base.limits.failure,
    )
    return replace(
        base,
        # Values of the administrator come first: they may know of a contract with other limits.
        directory=settings.directory or base.directory,
        caa=settings.caa or base.caa,
        eab=settings.eab or base.eab,
        limits=limits,
        ca_file=settings.ca_file,
        internal=settings.internal,
        at_once=settings.at_once,
    )


def all_cas(acme: AcmeSettings) -> dict[str, CertificateAuthority]:
    """Return the known and the configured CAs by name."""
    return {**known(), **{name: configured(name, settings) for name, settings in acme.cas.items()}}


def find(acme: AcmeSettings, name: str, directory: str = "") -> CertificateAuthority:
    """Return the CA of a name or directory URL.

    Args:
        acme: The configuration.
        name: The name of the CA; may be empty if a directory is given.
        directory: A directory URL that replaces that of the CA; empty for none.

    Raises:
        UsageError: The CA is unknown, or the URL is invalid.
    """
    cas = all_cas(acme)
    # The same directory under another name is the same CA: its limits apply.
    ca = cas.get(name) or next(
        (c for c in cas.values() if c.directory and c.directory == directory), None
    )
    if ca is None and directory:
        ca = CertificateAuthority(name or _host(directory), name or _host(directory), directory)
    if ca is None or not (directory or ca.directory):
        raise UsageError(
            f"'{printable(name, 60)}' is not a known CA",
            f"the known CAs are {', '.join(sorted(cas))}",
            "Name one of them, or give --directory URL.",
        )
    return replace(ca, directory=check_directory_url(directory)) if directory else ca


def check_directory_url(directory: str) -> str:
    """Return a directory URL.

    Raises:
        UsageError: It is not an https:// URL, or it has a user name or unprintable characters.
    """
    try:
        parts = urlsplit(directory)
        valid = (
            # Requests of ACME carry signatures and nonces; without TLS an attacker could replace
            # answers.
            parts.scheme == "https"
            and bool(normalise_host(parts.hostname or ""))
            and (parts.port or 443) > 0
        )
    except (ValueError, UsageError):
        valid = False
    if (
        not valid
        or parts.username
        or len(directory) > 1000
        or printable(directory, 1000) != directory
    ):
        raise UsageError(
            f"'{printable(directory, 80)}' is not a directory URL",
            "ACME requires HTTPS (RFC 8555 6.1)",
            "Write https://HOST/PATH.",
        )
    return directory


def _host(directory: str) -> str:
    return urlsplit(check_directory_url(directory)).hostname or ""
