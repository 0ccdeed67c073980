"""The configuration file (TOML) and its environment variables.

``CERTMGR_<SECTION>_<KEY>`` overrides a key of the file. An unknown key is an error that names the
most similar known key.
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
from certmgr.config.redaction import register
from inventory.errors import ConfigError
from inventory.names import as_ip, is_ehlo_name


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Section [database].

    Attributes:
        url: An SQLite path or URL, or postgresql://user@host/name. ``env:NAME`` or ``file:PATH``
            keep the whole URL secret.
        lock_timeout: Seconds to wait for an SQLite database that another process has locked.
    """

    url: str = ""
    lock_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Section [provider]: the company that runs certmgr.

    Attributes:
        name: The name that clients know.
        time_zone: The time zone of dates without a time.
        language: The language of reports for clients without one.
    """

    name: str = ""
    time_zone: str = "UTC"
    language: str = "en"


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """Section [scan].

    Attributes:
        timeout: Seconds in total for one address.
        connect_timeout: Seconds for one connection; 0 for no separate limit.
        concurrency: Concurrent connections.
        processes: Scan processes; 0 for one per core.
        per_address: Concurrent connections to one address; 0 for no limit.
        rate: Connections per second to one address; 0 for no limit.
        controls: Control targets, checked at the start and the end of a run. If they fail, the run
            is suspect.
        resolvers: Addresses of name servers; empty for those of the system.
        suspect_percent: Percentage of endpoints whose failure makes a run suspect.
        suspect_least: Minimum number of such endpoints.
        ehlo_name: The name of this machine for mail servers (EHLO, LHLO); empty for its full name.
        revocation: Whether ``certmgr run`` checks revocation lists.
        dane: Whether ``certmgr run`` checks CAA and TLSA records.
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
    ehlo_name: str = ""
    revocation: bool = True
    dane: bool = True


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """Section [trust].

    Attributes:
        store: The trust store: mozilla, system, or a PEM file.
        ca_files: PEM files with further trust anchors.
        fetch_issuers: Whether intermediates that a server does not send are fetched by AIA.
        rules: The file to which ``certmgr trust update`` writes the rules of browsers. Empty: a
            file in the user's data directory.
    """

    store: str = "mozilla"
    ca_files: tuple[str, ...] = ()
    fetch_issuers: bool = False
    rules: str = ""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Section [network].

    Attributes:
        provider: Our networks. A name that resolves to other addresses points elsewhere.
        allow: Private networks that a scan may connect to.
    """

    provider: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Section [http].

    Attributes:
        enabled: Whether scans also visit pages and plain HTTP.
        port: The port of plain HTTP.
        contact: A URL or e-mail address in the User-Agent, so that the owner of a server can reach
            us.
        per_address: Concurrent requests to one address; 0 for no limit.
        rate: Requests per second to one address; 0 for no limit.
    """

    enabled: bool = True
    port: int = 80
    contact: str = ""
    per_address: int = 2
    rate: float = 5.0


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Section [notify].

    Attributes:
        mail: The mailtos:// URL of apprise, usually as ``env:NAME`` or ``file:PATH``.
        channels: ``name=URL`` each, for contacts with the contact method channel:name.
        inbox: The imaps:// URL of the mailbox for replies and bounces.
        templates: A directory of custom templates.
        answer: The response time of the provider, in words.
        offers: A text about prices or offers for messages to clients; empty for none.
        country: ISO 3166 code whose holidays apply to contacts without a country.
        opens: The time of day from which clients may be notified.
        closes: The time of day until which clients may be notified.
        working_days: The days on which clients may be notified, mon to sun.
        thresholds: Days before an end: ``60,30,7``, ``tag:NAME=...`` or ``client:NUMBER=...``.
        freezes: Periods without changes, such as ``2026-12-20/2027-01-06``.
        purchase_days: The usual duration of a purchase.
        validation_days: The usual duration of a validation.
        installation_days: The usual duration of an installation.
        escalate_after_days: Days without an acknowledgement until the fallback is notified.
        escalate_near_after_days: The same if the end is less than a week away.
        ack_days: Days for which an acknowledgement stops reminders.
        status_update_days: Working days between status updates from level 2 on.
        mass_percent: Percentage of clients with changes above which a run is held.
        mass_least: Minimum number of such clients.
        confirm_above: Number of clients above which a run needs their exact number.
        rate: Messages per second on each channel; 0 for no limit.
        timeout: Seconds for one message.
        digest_hour: The hour of the provider's day from which the daily digest is sent.
        heartbeat: A URL that is called after each successful run.
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
    escalate_after_days: int = 7
    escalate_near_after_days: int = 2
    ack_days: int = 7
    status_update_days: int = 2
    mass_percent: float = 5.0
    mass_least: int = 5
    confirm_above: int = 20
    rate: float = 2.0
    timeout: float = 60.0
    digest_hour: int = 7
    heartbeat: str = ""


@dataclass(frozen=True, slots=True)
class CasesSettings:
    """Section [cases].

    Attributes:
        keys: The directory for private keys; empty for the user's data directory.
        passphrase: The passphrase of keys, as ``env:NAME`` or ``file:PATH``; empty for no
            encryption.
        key_type: The type of new keys: ec-p256, ec-p384, rsa-2048, rsa-3072 or rsa-4096.
        open_ahead: Days before the due date of a reissue or renewal at which its case opens.
        window_minutes: The default length of an installation window.
        verify_hours: Hours after a window until staff are notified of a missing verification.
    """

    keys: str = ""
    passphrase: str = ""
    key_type: str = "ec-p256"
    open_ahead: int = 14
    window_minutes: int = 60
    verify_hours: int = 24


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """Section [forecast]. Amounts are decimal numbers as text.

    Attributes:
        currency: The currency of the amounts.
        price_1: The price of one certificate for one year, if the purchase has no price.
        price_2: The same for two years.
        price_3: The same for three years.
        fee: The fee of a client for one installation.
        hours: The provider's working hours for one installation.
        rate: The cost of one working hour.
        acme_hours: Working hours to move one name to ACME, once.
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
    """The whole configuration.

    Attributes:
        source: The path of the file, or "built-in defaults".
    """

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
    """Return a hint with the most similar known word, or with all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"Valid are {', '.join(known)}."


def default_path() -> Path:
    """Return the path of the configuration file in the user's configuration directory."""
    return Path(platformdirs.user_config_dir("certmgr")) / "certmgr.toml"


def default_database() -> str:
    """Return the path of the database in the user's data directory."""
    return str(Path(platformdirs.user_data_dir("certmgr")) / "certmgr.db")


def load(path: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Load the configuration.

    Args:
        path: The file. Default: CERTMGR_CONFIG, then the file in the user's configuration
            directory. Only the latter may be missing; the defaults apply then.
        environ: The environment variables; those of the process if None.

    Raises:
        ConfigError: The file cannot be read, or a section, key or value is invalid.
    """
    environ = os.environ if environ is None else environ
    named = path or environ.get("CERTMGR_CONFIG")
    file = Path(named) if named else default_path()
    raw: dict[str, Any] = {}
    source = "built-in defaults"
    # A named file that is missing is an error; the default file is optional.
    if named or file.is_file():
        raw, source = _read(file), str(file)
    sections = {}
    known = sorted(SECTIONS)
    for name, values in raw.items():
        if name not in SECTIONS:
            raise ConfigError(f"{file}: unknown section [{name}]", "", _nearest(name, known))
        if not isinstance(values, dict):
            raise ConfigError(
                f"{file}: the key '{name}' is outside of a section",
                "",
                f"Move it below [{known[0]}] or another section.",
            )
    for name in SECTIONS:
        cls = get_type_hints(Settings)[name]
        values = dict(raw.get(name, {}))
        # The tables of [acme] are read separately, so they are not keys of the section.
        hints = {
            k: v
            for k, v in get_type_hints(cls).items()
            if not (name == "acme" and k in ("cas", "solvers", "targets"))
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
    """Remove [acme.ca.NAME], [acme.solver.NAME] and [acme.target.NAME] from ``values``.

    Returns:
        The tables by attribute of AcmeSettings.

    Raises:
        ConfigError: A table has an unknown key or an invalid value.
    """
    tables: dict[str, Any] = {}
    for table, (attribute, cls) in TABLES.items():
        named = values.pop(table, {})
        hints = get_type_hints(cls)
        settings_by_name = {}
        if not isinstance(named, dict) or not all(isinstance(v, dict) for v in named.values()):
            raise ConfigError(
                f"{file}: [acme] {table} is not a table",
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
            settings_by_name[name] = cls(
                **{k: _typed(v, hints[k], f"{where} {k}") for k, v in entries.items()}
            )
        tables[attribute] = settings_by_name
    return tables


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"The configuration {file} cannot be read",
            error.strerror or str(error),
            "Give a readable file.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The configuration {file} is not TOML", str(error), "Correct this line."
        ) from None


def _from_text(text: str, hint: Any, where: str) -> Any:
    """Convert the text of an environment variable to the type of its key."""
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
    """Return a TOML value of the expected type, or raise ConfigError.

    ``bool`` is a subclass of ``int`` in Python, so numbers exclude it explicitly.
    """
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
    # It becomes a line of a dialogue, so nothing but a name or an address literal is accepted.
    if scan.ehlo_name and not is_ehlo_name(scan.ehlo_name):
        raise ConfigError(
            f"[scan] ehlo_name is {scan.ehlo_name!r}",
            "mail servers accept only a host name or an address literal",
            "Write scan.example.com, or [192.0.2.1], or leave it empty.",
        )
    http = settings.http
    if not 1 <= http.port <= 65535:
        raise ConfigError(f"[http] port is {http.port}", "it must be 1 to 65535")
    for name in ("per_address", "rate"):
        if getattr(http, name) < 0:
            raise ConfigError(f"[http] {name} is {getattr(http, name)}", "it must not be below 0")
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
                "a resolver must be an IP address",
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
            f"[cases] key_type is '{cases.key_type}'", "", _nearest(cases.key_type, list(KEY_TYPES))
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
            valid = Decimal(text).is_finite() and 0 <= Decimal(text) < 10**9
        except InvalidOperation:
            valid = False
        if not valid:
            raise ConfigError(
                f"[forecast] {name} is '{text}'",
                "it must be an amount of 0 or more",
                'Write "49.90".',
            )


def resolver_parts(text: str) -> tuple[str, str]:
    """Return address and port of an entry of [scan] resolvers."""
    host, _, port = (
        text.rpartition(":") if text.count(":") == 1 or text.startswith("[") else (text, "", "53")
    )
    return host, port


def secret(text: str) -> str:
    """Return the value of ``env:NAME`` or ``file:PATH``; any other text is returned unchanged.

    Secrets are resolved when they are used and are not stored in the settings.

    Raises:
        ConfigError: The environment variable is not set, or the file cannot be read.
    """
    kind, _, rest = text.partition(":")
    if kind == "env":
        value = os.environ.get(rest)
        if value is None:
            raise ConfigError(
                f"The environment variable {rest} is not set", "the configuration refers to it"
            )
        register(value)
        return value
    if kind == "file":
        try:
            value = Path(rest).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                f"The secret file {rest} cannot be read", error.strerror or str(error)
            ) from None
        register(value)
        return value
    return text
