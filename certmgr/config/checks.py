"""Whether the values of the configuration are valid, with what to write instead. Pure."""

from __future__ import annotations

import difflib
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zoneinfo import ZoneInfo

from certmgr.config.acme import check as check_acme
from certmgr.config.settings import (
    AuditSettings,
    CasesSettings,
    ForecastSettings,
    HttpSettings,
    NotifySettings,
    RunSettings,
    ScanSettings,
    Settings,
    WorkersSettings,
)
from certmgr.config.zones import check_zones
from inventory.errors import ConfigError
from inventory.names import is_ehlo_name

MAX_CONCURRENCY = 20_000
MAX_SHARD_SIZE = 5000
MAX_ZONE_MINUTES = 9
MAX_BUDGET_MINUTES = 10_080  # a week


def nearest(word: str, known: list[str]) -> str:
    """Return a hint with the most similar known word, or with all of them."""
    # A cutoff of one half finds a typing error, and not any word.
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"Valid are {', '.join(known)}."


def check(settings: Settings) -> None:
    """Check all sections.

    Raises:
        ConfigError: A value is invalid.
    """
    _check_scan(settings.scan)
    check_zones(settings)
    _check_workers(settings.workers)
    _check_http(settings.http)
    _check_notify(settings.notify)
    _check_cases(settings.cases)
    _check_forecast(settings.forecast)
    _check_audit(settings.audit)
    _check_budgets(settings.run)
    check_acme(settings.acme, KEY_TYPES)
    try:
        ZoneInfo(settings.provider.time_zone)
    # The library raises three kinds of errors: an unknown name, a path, and a folder of zones.
    except (KeyError, ValueError, OSError):
        raise ConfigError(
            f"[provider] time_zone '{settings.provider.time_zone}' is unknown",
            "",
            "Write Europe/Berlin, for example.",
        ) from None


def _check_scan(scan: ScanSettings) -> None:
    for name in ("timeout", "concurrency"):
        if getattr(scan, name) <= 0:
            raise ConfigError(f"[scan] {name} is {getattr(scan, name)}", "it must be above 0")
    for name in ("connect_timeout", "processes", "per_address", "rate", "suspect_percent"):
        if getattr(scan, name) < 0:
            raise ConfigError(f"[scan] {name} is {getattr(scan, name)}", "it must not be below 0")
    # It becomes a line of a dialogue, so nothing but a name or an address literal is accepted.
    if scan.ehlo_name and not is_ehlo_name(scan.ehlo_name):
        raise ConfigError(
            f"[scan] ehlo_name is {scan.ehlo_name!r}",
            "mail servers accept only a host name or an address literal",
            "Write scan.example.com, or [192.0.2.1], or leave it empty.",
        )
    # Each connection needs a file descriptor and memory of this machine.
    if scan.concurrency > MAX_CONCURRENCY:
        raise ConfigError(
            f"[scan] concurrency is {scan.concurrency}", f"it must be at most {MAX_CONCURRENCY:,}"
        )


def _check_workers(workers: WorkersSettings) -> None:
    if not 1 <= workers.shard_size <= MAX_SHARD_SIZE:
        raise ConfigError(
            f"[workers] shard_size is {workers.shard_size}",
            f"it must be 1 to {MAX_SHARD_SIZE:,}",
            "A worker keeps the results of a shard in memory until it stores them.",
        )
    if not 2 <= workers.silent_seconds <= 600:
        raise ConfigError(
            f"[workers] silent_seconds is {workers.silent_seconds:g}",
            "it must be 2 to 600",
            "A shorter time takes work from workers that are only slow.",
        )
    if not 0 <= workers.zone_minutes <= MAX_ZONE_MINUTES:
        raise ConfigError(
            f"[workers] zone_minutes is {workers.zone_minutes:g}",
            f"it must be 0 to {MAX_ZONE_MINUTES}",
            "A scan without any sign of a worker for ten minutes counts as dead.",
        )


def _check_http(http: HttpSettings) -> None:
    if not 1 <= http.port <= 65535:
        raise ConfigError(f"[http] port is {http.port}", "it must be 1 to 65535")
    for name in ("per_address", "rate"):
        if getattr(http, name) < 0:
            raise ConfigError(f"[http] {name} is {getattr(http, name)}", "it must not be below 0")
    # The text stands in a comment of the header, which parentheses would end (RFC 9110 5.6.5).
    if (
        not (http.contact.isascii() and http.contact.isprintable())
        or len(http.contact) > 200
        or set(http.contact) & set("()\\")
    ):
        raise ConfigError(
            "[http] contact is not valid in a User-Agent",
            "it has non-ASCII characters, parentheses or backslashes, or over 200 characters",
            "Write https://example.com/scan or an e-mail address.",
        )


def _check_budgets(run: RunSettings) -> None:
    for budget in fields(run):
        minutes = getattr(run, budget.name)
        if not 0 <= minutes <= MAX_BUDGET_MINUTES:
            raise ConfigError(
                f"[run] {budget.name} is {minutes:g}",
                f"it must be 0 (no limit) to {MAX_BUDGET_MINUTES:,} minutes",
            )


def _check_notify(notify: NotifySettings) -> None:
    for name in (
        "purchase_days",
        "validation_days",
        "installation_days",
        "escalate_after_days",
        "escalate_near_after_days",
        "ack_days",
        "status_update_days",
        "mass_least",
        "confirm_above",
    ):
        if not 0 <= getattr(notify, name) <= 100_000:
            raise ConfigError(
                f"[notify] {name} is {getattr(notify, name)}", "it must be 0 to 100,000"
            )
    if notify.rate < 0 or notify.timeout <= 0 or not 0 <= notify.mass_percent <= 100:
        raise ConfigError(
            "[notify] rate, timeout or mass_percent is invalid",
            "rate must be 0 or more, timeout above 0, and mass_percent 0 to 100",
        )
    if not 0 <= notify.digest_hour <= 23:
        raise ConfigError(
            f"[notify] digest_hour is {notify.digest_hour}", "it must be an hour, 0 to 23"
        )


KEY_TYPES = ("ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096")


def _check_cases(cases: CasesSettings) -> None:
    if cases.key_type not in KEY_TYPES:
        raise ConfigError(
            f"[cases] key_type is '{cases.key_type}'", "", nearest(cases.key_type, list(KEY_TYPES))
        )
    if cases.keys and not Path(cases.keys).is_absolute():
        raise ConfigError(
            f"[cases] keys is '{cases.keys}'",
            "a relative path would depend on the current directory",
            "Write an absolute path.",
        )
    for name, low, high in (
        ("open_ahead", 0, 365),
        ("window_minutes", 5, 1440),
        ("verify_hours", 1, 720),
    ):
        if not low <= getattr(cases, name) <= high:
            raise ConfigError(
                f"[cases] {name} is {getattr(cases, name)}", f"it must be {low} to {high}"
            )


def _check_forecast(forecast: ForecastSettings) -> None:
    for name in ("price_1", "price_2", "price_3", "fee", "hours", "rate", "acme_hours"):
        text = getattr(forecast, name)
        try:
            # Decimal also reads "NaN" and "Infinity", which no sum survives.
            valid = Decimal(text).is_finite() and 0 <= Decimal(text) < 10**9
        except InvalidOperation:
            valid = False
        if not valid:
            raise ConfigError(
                f"[forecast] {name} is '{text}'",
                "it must be an amount of 0 or more",
                'Write "49.90".',
            )


def _check_audit(audit: AuditSettings) -> None:
    for name in ("head_file", "timestamp_ca"):
        path = getattr(audit, name)
        if path and not Path(path).is_absolute():
            raise ConfigError(
                f"[audit] {name} is '{path}'",
                "a relative path would depend on the current directory",
                "Write an absolute path.",
            )
    if not audit.timestamp_url:
        return
    # env: and file: are resolved when they are used.
    if not audit.timestamp_url.startswith(("https://", "http://", "env:", "file:")):
        raise ConfigError(
            "[audit] timestamp_url is not an https:// or http:// URL",
            "",
            "Write the URL of a timestamp authority (RFC 3161).",
        )
    # The head file keeps the signed timestamps; without the CA they prove nothing.
    for name in ("head_file", "timestamp_ca"):
        if not getattr(audit, name):
            raise ConfigError(
                f"[audit] timestamp_url is set, and {name} is empty",
                "a signed timestamp is verified with timestamp_ca and stored in head_file",
                f"Set {name} to an absolute path.",
            )
