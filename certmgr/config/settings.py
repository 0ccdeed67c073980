"""The sections of the configuration, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from certmgr.config.acme import AcmeSettings
from certmgr.config.zone_settings import FAMILIES, ZoneSettings


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Section [database].

    Attributes:
        url: An SQLite path or URL, or postgresql://user@host/name. ``env:NAME`` or ``file:PATH``
            keep the whole URL secret.
        lock_timeout: Seconds to wait for an SQLite database that another process has locked.
    """

    url: str = ""
    # An import of a large inventory holds the lock for seconds.
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
        families: The IP versions that may be used, "4" and "6".
        sources: Local addresses from which to connect, at most one per IP version.
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
    # Shared hosting has thousands of names on one address; more at once would look like an attack.
    per_address: int = 8
    rate: float = 20.0
    controls: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    families: tuple[str, ...] = FAMILIES
    sources: tuple[str, ...] = ()
    # Sites fail alone. Many that were good and fail together mean that the scanner's network
    # failed.
    suspect_percent: float = 5.0
    # In a small inventory five percent would be a single site.
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
    # Browsers fetch a missing intermediate as well, or know it: without it the verdict would differ
    # from theirs.
    fetch_issuers: bool = True
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
    # Pages cost a server more than handshakes: they may run a program and query a database.
    per_address: int = 2
    rate: float = 5.0


@dataclass(frozen=True, slots=True)
class ChecksSettings:
    """Section [checks].

    Attributes:
        ignore: Codes of remarks and medium findings that scans do not report.
    """

    ignore: tuple[str, ...] = ()


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
    # In the time zone of each contact. A notice at night is read as an emergency.
    opens: str = "08:00"
    closes: str = "18:00"
    working_days: tuple[str, ...] = ("mon", "tue", "wed", "thu", "fri")
    thresholds: tuple[str, ...] = ()
    freezes: tuple[str, ...] = ()
    purchase_days: int = 7
    validation_days: int = 7
    installation_days: int = 7
    escalate_after_days: int = 7
    # Below a week the usual seven days would end after the certificate.
    escalate_near_after_days: int = 2
    ack_days: int = 7
    status_update_days: int = 2
    # A wrong import or a broken check touches many clients at once; a person confirms such a run.
    mass_percent: float = 5.0
    # With few clients a percentage would hold every run.
    mass_least: int = 5
    # The exact number proves that the person read how many clients would be written to.
    confirm_above: int = 20
    # Two per second: mail servers of providers limit or delay senders that are faster.
    rate: float = 2.0
    timeout: float = 60.0
    # Before work begins, so that the day can be planned with it.
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
    # Smaller and faster in a handshake than RSA, and accepted by all current browsers.
    key_type: str = "ec-p256"
    # Two weeks: time for the vendor's validation, the answer of the client, and a window that suits
    # both.
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
    # Text, because a binary fraction cannot hold 49.90 exactly.
    price_1: str = "0"
    price_2: str = "0"
    price_3: str = "0"
    fee: str = "0"
    hours: str = "1"
    rate: str = "0"
    acme_hours: str = "1"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Section [run]: the time budgets of the parts of ``certmgr run``, in minutes; 0: no limit.

    Attributes:
        scan_minutes: The scan before the other parts. The rest of a longer scan follows them.
        revocation_minutes: Revocation lists, CAA and DANE.
        renew_minutes: Renewals by ACME.
        cases_minutes: Cases of purchases.
        inbox_minutes: Replies and bounces.
        notify_minutes: Composing and sending notices.
    """

    # A part that exceeds its budget is ended or continued later, so that no part can keep the
    # others from running.
    scan_minutes: float = 60.0
    revocation_minutes: float = 30.0
    renew_minutes: float = 60.0
    cases_minutes: float = 15.0
    inbox_minutes: float = 15.0
    notify_minutes: float = 60.0


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Section [audit]: what else proves that the audit log was not cut or changed.

    Attributes:
        head_file: A file to which ``certmgr run`` adds the head of the log once per day. It is only
            appended to, so it may be on write-once storage. Empty: none.
        timestamp_url: A timestamp authority (RFC 3161) that signs each of these heads; empty for
            none. Plain HTTP is enough, because the answer is signed.
        timestamp_ca: A PEM file with the CA certificates of the timestamp authority.
        passphrase: The passphrase of the key of ``certmgr audit export --sign``, as ``env:NAME`` or
            ``file:PATH``.
    """

    head_file: str = ""
    timestamp_url: str = ""
    timestamp_ca: str = ""
    passphrase: str = ""


@dataclass(frozen=True, slots=True)
class WorkersSettings:
    """Section [workers]: work that is spread over machines, with PostgreSQL.

    Attributes:
        enabled: Whether ``certmgr run`` and ``certmgr scan`` leave the work to workers.
        shard_size: The most endpoints that one worker takes at a time.
        silent_seconds: A worker without a heartbeat for this long counts as dead, and its jobs
            are taken up by others. A lease of a shard lasts twice as long.
        zone_minutes: A scan waits this long for a worker of a zone that has none; then it ends
            without the endpoints of that zone.
    """

    enabled: bool = False
    shard_size: int = 500
    silent_seconds: float = 30.0
    zone_minutes: float = 5.0


# The source of a configuration without a file.
BUILT_IN = "built-in defaults"


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    Attributes:
        zones: The vantage points of this machine by name ([zones.NAME]).
        source: The path of the file, or "built-in defaults".
    """

    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    provider: ProviderSettings = field(default_factory=ProviderSettings)
    scan: ScanSettings = field(default_factory=ScanSettings)
    trust: TrustSettings = field(default_factory=TrustSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    checks: ChecksSettings = field(default_factory=ChecksSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    cases: CasesSettings = field(default_factory=CasesSettings)
    forecast: ForecastSettings = field(default_factory=ForecastSettings)
    acme: AcmeSettings = field(default_factory=AcmeSettings)
    run: RunSettings = field(default_factory=RunSettings)
    workers: WorkersSettings = field(default_factory=WorkersSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    zones: Mapping[str, ZoneSettings] = field(default_factory=dict)
    source: str = BUILT_IN

    @property
    def has_file(self) -> bool:
        """Whether a configuration file was read."""
        return self.source != BUILT_IN


def default_database() -> str:
    """Return the path of the database in the user's data directory."""
    return str(Path(platformdirs.user_data_dir("certmgr")) / "certmgr.db")


def resolver_parts(text: str) -> tuple[str, str]:
    """Return address and port of an entry of [scan] resolvers."""
    # A bare IPv6 address has several colons and no port; with a port it stands in brackets (RFC
    # 3986 3.2.2).
    host, _, port = (
        text.rpartition(":") if text.count(":") == 1 or text.startswith("[") else (text, "", "53")
    )
    return host, port
