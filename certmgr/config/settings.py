"""TOML -> :class:`Settings`.

``CERTMGR_<SECTION>_<KEY>`` overrides; an unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, get_type_hints
from zoneinfo import ZoneInfo

import platformdirs

from certmgr.config.acme import TABLES, AcmeSettings
from certmgr.config.acme import check as check_acme
from inventory.errors import ConfigError
from inventory.names import as_ip


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """``url``: an SQLite path or URL, or postgresql://user@host/name.

    A secret part may be ``env:NAME`` or ``file:PATH`` as a whole. ``lock_timeout``: seconds to wait
    for an SQLite database that another program holds.
    """

    url: str = ""
    lock_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Who runs certmgr.

    ``time_zone``: in which a bare date ends. ``language``: of reports for clients of whom nobody
    said.
    """

    name: str = ""
    time_zone: str = "UTC"
    language: str = "en"


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """``timeout``: seconds, the whole time for one address.

    ``concurrency``: connections at once. ``processes``: 0 for one a core.

    ``per_address`` and ``rate``: connections at once and a second towards one address (0: no
    limit). ``controls``: targets that are looked at first and last; where they fail, the run is
    suspect. ``resolvers``: addresses; empty for the system's. ``revocation`` and ``dane``: whether
    ``certmgr run`` asks the lists of the CAs, and CAA and TLSA in the DNS.
    """

    timeout: float = 10.0
    connect_timeout: float = 0.0
    concurrency: int = 500
    processes: int = 0
    per_address: int = 8
    rate: float = 20.0
    controls: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    suspect_percent: float = 5.0
    suspect_least: int = 5
    revocation: bool = True
    dane: bool = True


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """``store``: mozilla, system, or a PEM file.

    ``ca_files``: anchors of your own. ``fetch_issuers``: fetch by AIA what a server did not send.
    """

    store: str = "mozilla"
    ca_files: tuple[str, ...] = ()
    fetch_issuers: bool = False


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """``provider``: our own networks (a name outside of them points elsewhere).

    ``allow``: private networks that a scan may visit.
    """

    provider: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """``enabled``: whether scans also ask plain HTTP.

    ``port``: of plain HTTP. ``contact``: an address or URL in the User-Agent, by which the owner of
    a server reaches us. ``per_address`` and ``rate``: pages at once and a second from one address
    (0: no limit).
    """

    enabled: bool = True
    port: int = 80
    contact: str = ""
    per_address: int = 2
    rate: float = 5.0


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """``mail``: apprise's mailtos:// URL, usually ``env:NAME`` or ``file:PATH``.

    ``channels``: ``name=URL`` each, for contacts with a way channel:name.

    ``inbox``: imaps:// URL of the mailbox that answers and bounces come to. ``templates``: a
    directory of one's own. ``answer``: within what time an answer comes, in words; ``offers``: a
    text about prices or offers, switched on by being there. ``country``: ISO 3166, whose holidays
    hold for contacts that have none; ``opens``, ``closes`` and ``working_days`` (mon to sun): when
    clients may be written to. ``thresholds``: days before an end, ``60,30,7``, ``tag:NAME=...`` or
    ``client:NUMBER=...``. ``freezes``: ``2026-12-20/2027-01-06``. ``confirm_above``: to more
    clients at once only with their exact number. ``rate``: messages a second a channel.
    ``timeout``: seconds for one message. ``digest_hour``: of the provider's day. ``heartbeat``: a
    URL that is called after each good run.
    """

    mail: str = ""
    channels: tuple[str, ...] = ()
    inbox: str = ""
    templates: str = ""
    answer: str = ""
    offers: str = ""
    country: str = ""
    opens: str = "08:00"
    closes: str = "18:00"
    working_days: tuple[str, ...] = ("mon", "tue", "wed", "thu", "fri")
    thresholds: tuple[str, ...] = ()
    freezes: tuple[str, ...] = ()
    purchase_days: int = 7
    validation_days: int = 7
    installation_days: int = 7
    climb_days: int = 7
    climb_near_days: int = 2
    ack_days: int = 7
    word_days: int = 2
    mass_percent: float = 5.0
    mass_least: int = 5
    confirm_above: int = 20
    rate: float = 2.0
    timeout: float = 60.0
    digest_hour: int = 7
    heartbeat: str = ""


@dataclass(frozen=True, slots=True)
class CasesSettings:
    """``keys``: the directory of private keys; empty for the user's own.

    ``passphrase``: of new keys, ``env:NAME`` or ``file:PATH``; empty: not encrypted. ``key_type``:
    ec-p256, ec-p384, rsa-2048, rsa-3072 or rsa-4096. ``open_ahead``: days before a reissue or
    renewal is due at which its case opens. ``window_minutes``: how long an installation window is
    unless somebody says otherwise. ``verify_hours``: how long after a window the proof is awaited
    before staff hear that it is missing.
    """

    keys: str = ""
    passphrase: str = ""
    key_type: str = "ec-p256"
    open_ahead: int = 14
    window_minutes: int = 60
    verify_hours: int = 24


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """Amounts are decimal texts in ``currency``.

    ``price_1`` to ``price_3``: one certificate for a term of so many years, where no order says it.
    ``fee``: what a client pays for one installation. ``hours`` and ``rate``: the provider's own
    work for it. ``acme_hours``: to move one name to ACME, once.
    """

    currency: str = "EUR"
    price_1: str = "0"
    price_2: str = "0"
    price_3: str = "0"
    fee: str = "0"
    hours: str = "1"
    rate: str = "0"
    acme_hours: str = "1"


@dataclass(frozen=True, slots=True)
class Settings:
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    provider: ProviderSettings = field(default_factory=ProviderSettings)
    scan: ScanSettings = field(default_factory=ScanSettings)
    trust: TrustSettings = field(default_factory=TrustSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    cases: CasesSettings = field(default_factory=CasesSettings)
    forecast: ForecastSettings = field(default_factory=ForecastSettings)
    acme: AcmeSettings = field(default_factory=AcmeSettings)
    source: str = "built-in defaults"


MAX_CONCURRENCY = 20_000
SECTIONS = {f.name: f for f in fields(Settings) if f.name != "source"}


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"Known are {', '.join(known)}."


def default_path() -> Path:
    return Path(platformdirs.user_config_dir("certmgr")) / "certmgr.toml"


def default_database() -> str:
    return str(Path(platformdirs.user_data_dir("certmgr")) / "certmgr.db")


def load(path: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """``path``, else CERTMGR_CONFIG, else the user's configuration directory (where a missing file
    means the defaults).
    """
    environ = os.environ if environ is None else environ
    named = path or environ.get("CERTMGR_CONFIG")
    file = Path(named) if named else default_path()
    raw: dict[str, Any] = {}
    source = "built-in defaults"
    if named or file.is_file():
        raw, source = _read(file), str(file)
    sections = {}
    known = sorted(SECTIONS)
    for name, values in raw.items():
        if name not in SECTIONS:
            raise ConfigError(f"{file}: unknown section [{name}]", "", _nearest(name, known))
        if not isinstance(values, dict):
            raise ConfigError(
                f"{file}: '{name}' stands outside of a section",
                "",
                f"Write it below [{known[0]}] or another section.",
            )
    for name in SECTIONS:
        cls = get_type_hints(Settings)[name]
        values = dict(raw.get(name, {}))
        hints = {
            k: v
            for k, v in get_type_hints(cls).items()
            if not (name == "acme" and k in ("cas", "solvers", "places"))
        }
        tables = _tables(values, file) if name == "acme" else {}
        for key in values:
            if key not in hints:
                raise ConfigError(
                    f"{file}: unknown key '{key}' in [{name}]", "", _nearest(key, list(hints))
                )
        prefix = f"CERTMGR_{name.upper()}_"
        for variable, text in environ.items():
            if variable.startswith(prefix):
                key = variable[len(prefix) :].lower()
                if key not in hints:
                    raise ConfigError(
                        f"The environment variable {variable} is unknown",
                        "",
                        _nearest(key, list(hints)),
                    )
                values[key] = _from_text(text, hints[key], variable)
        where = f"{file}: [{name}]"
        sections[name] = cls(
            **{k: _typed(v, hints[k], f"{where} {k}") for k, v in values.items()}, **tables
        )
    settings = Settings(**sections, source=source)
    _check(settings)
    return settings


def _tables(values: dict[str, Any], file: Path) -> dict[str, Any]:
    """Takes [acme.ca.NAME], [acme.solver.NAME] and [acme.target.NAME] out of ``values``."""
    found: dict[str, Any] = {}
    for table, (attribute, cls) in TABLES.items():
        named = values.pop(table, {})
        hints = get_type_hints(cls)
        made = {}
        if not isinstance(named, dict) or not all(isinstance(v, dict) for v in named.values()):
            raise ConfigError(
                f"{file}: [acme] {table} stands outside of a table",
                "",
                f"Write [acme.{table}.NAME] above it.",
            )
        for name, entries in named.items():
            where = f"{file}: [acme.{table}.{name}]"
            for key in entries:
                if key not in hints:
                    raise ConfigError(
                        f"{where}: unknown key '{key}'", "", _nearest(key, list(hints))
                    )
            made[name] = cls(**{k: _typed(v, hints[k], f"{where} {k}") for k, v in entries.items()})
        found[attribute] = made
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"The configuration {file} cannot be read",
            error.strerror or str(error),
            "Name a readable file.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The configuration {file} is not TOML", str(error), "Correct that line."
        ) from None


def _from_text(text: str, hint: Any, where: str) -> Any:
    if hint is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ConfigError(f"{where} is '{text}'", "it must be true or false")
        return text.lower() in ("true", "1")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ConfigError(f"{where} is '{text}'", "it must be a number") from None
    return text if hint is str else [part.strip() for part in text.split(",") if part.strip()]


def _typed(value: Any, hint: Any, where: str) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if (
        hint is float
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    ):
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    expected = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text in quotes",
    }.get(hint, "a list of texts")
    raise ConfigError(f"{where} is {value!r}", f"it must be {expected}")


def _check(settings: Settings) -> None:
    scan = settings.scan
    for name in ("timeout", "concurrency"):
        if getattr(scan, name) <= 0:
            raise ConfigError(f"[scan] {name} is {getattr(scan, name)}", "it must be above 0")
    for name in ("connect_timeout", "processes", "per_address", "rate", "suspect_percent"):
        if getattr(scan, name) < 0:
            raise ConfigError(f"[scan] {name} is {getattr(scan, name)}", "it must not be below 0")
    http = settings.http
    if not 1 <= http.port <= 65535:
        raise ConfigError(f"[http] port is {http.port}", "a port is a number from 1 to 65535")
    for name in ("per_address", "rate"):
        if getattr(http, name) < 0:
            raise ConfigError(f"[http] {name} is {getattr(http, name)}", "it must not be below 0")
    if (
        not (http.contact.isascii() and http.contact.isprintable())
        or len(http.contact) > 200
        or set(http.contact) & set("()\\")
    ):
        raise ConfigError(
            "[http] contact cannot stand in a User-Agent",
            "it has other characters than ASCII, or brackets",
            "Write https://example.com/scan or an e-mail address.",
        )
    _check_notify(settings.notify)
    _check_cases(settings.cases)
    _check_forecast(settings.forecast)
    check_acme(settings.acme, KEY_TYPES)
    if scan.concurrency > MAX_CONCURRENCY:
        raise ConfigError(
            f"[scan] concurrency is {scan.concurrency}", f"it must be at most {MAX_CONCURRENCY:,}"
        )
    for resolver in scan.resolvers:
        host, port = resolver_parts(resolver)
        if as_ip(host) is None or not port.isdigit():
            raise ConfigError(
                f"[scan] resolvers has '{resolver}'",
                "a resolver is an IP address",
                "Write 192.0.2.53 or 192.0.2.53:5353.",
            )
    try:
        ZoneInfo(settings.provider.time_zone)
    except (KeyError, ValueError, OSError):
        raise ConfigError(
            f"[provider] time_zone '{settings.provider.time_zone}' is unknown",
            "",
            "Write Europe/Berlin, for example.",
        ) from None


def _check_notify(notify: NotifySettings) -> None:
    for name in (
        "purchase_days",
        "validation_days",
        "installation_days",
        "climb_days",
        "climb_near_days",
        "ack_days",
        "word_days",
        "mass_least",
        "confirm_above",
    ):
        if not 0 <= getattr(notify, name) <= 100_000:
            raise ConfigError(f"[notify] {name} is {getattr(notify, name)}", "it is 0 to 100,000")
    if notify.rate < 0 or notify.timeout <= 0 or not 0 <= notify.mass_percent <= 100:
        raise ConfigError(
            "[notify] rate, timeout or mass_percent cannot be so",
            "a rate is 0 or more, a timeout above 0, a percentage 0 to 100",
        )
    if not 0 <= notify.digest_hour <= 23:
        raise ConfigError(f"[notify] digest_hour is {notify.digest_hour}", "it is an hour, 0 to 23")


KEY_TYPES = ("ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096")


def _check_cases(cases: CasesSettings) -> None:
    if cases.key_type not in KEY_TYPES:
        raise ConfigError(
            f"[cases] key_type is '{cases.key_type}'", "", _nearest(cases.key_type, list(KEY_TYPES))
        )
    if cases.keys and not Path(cases.keys).is_absolute():
        raise ConfigError(
            f"[cases] keys is '{cases.keys}'",
            "it would depend on the folder in which somebody stands",
            "Write the whole path.",
        )
    for name, low, high in (
        ("open_ahead", 0, 365),
        ("window_minutes", 5, 1440),
        ("verify_hours", 1, 720),
    ):
        if not low <= getattr(cases, name) <= high:
            raise ConfigError(f"[cases] {name} is {getattr(cases, name)}", f"it is {low} to {high}")


def _check_forecast(forecast: ForecastSettings) -> None:
    for name in ("price_1", "price_2", "price_3", "fee", "hours", "rate", "acme_hours"):
        text = getattr(forecast, name)
        try:
            good = Decimal(text).is_finite() and 0 <= Decimal(text) < 10**9
        except InvalidOperation:
            good = False
        if not good:
            raise ConfigError(
                f"[forecast] {name} is '{text}'", "it is an amount of 0 or more", 'Write "49.90".'
            )


def resolver_parts(text: str) -> tuple[str, str]:
    """(address, port) of an entry of [scan] resolvers."""
    host, _, port = (
        text.rpartition(":") if text.count(":") == 1 or text.startswith("[") else (text, "", "53")
    )
    return host, port


def secret(text: str) -> str:
    """The value behind ``env:NAME`` or ``file:PATH``; any other text is itself.

    Resolved when used, never stored.
    """
    kind, _, rest = text.partition(":")
    if kind == "env":
        value = os.environ.get(rest)
        if value is None:
            raise ConfigError(
                f"The environment variable {rest} is not set", "the configuration refers to it"
            )
        return value
    if kind == "file":
        try:
            return Path(rest).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                f"The secret file {rest} cannot be read", error.strerror or str(error)
            ) from None
    return text
