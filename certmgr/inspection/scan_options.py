"""The options of a scan, and the settings of its scanning processes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from certmgr import __version__
from certmgr.config.settings import Settings
from certmgr.inspection.scan_job import ScanSetup
from certmgr.net.addresses import Network, networks
from certmgr.net.own_name import own_name
from certmgr.scan.dial_request import DialLimits
from certmgr.scan.page_connection import WebOptions
from certmgr.x509.trust_data import load_rules, rules_path
from inventory.clock import Clock, system_clock
from inventory.errors import ConfigError
from inventory.finding_codes import CODES
from inventory.text import printable

ALL_ZONES = "all"
DEFAULT_HTTP_PORT = 80


@dataclass(slots=True)
class ScanOptions:
    """The options of one scan, in addition to the configuration.

    Attributes:
        client: Only the endpoints of this client (number or name).
        tag: Only endpoints with this tag.
        server: Only endpoints of domains on this server.
        resume: Go on with the last run if it was interrupted less than an hour ago.
        deep: Inspect the certificate of the other key type too, TLS 1.0 and 1.1, and post-quantum
            key exchange.
        full: Pass each report to ``on_report``, changed or not.
        overrides: Addresses by (host, port), instead of those from the DNS.
        ca_files: Additional trust anchors.
        accept_suspect: Accept a run in which many endpoints fail together.
        timeout: Seconds per probe; None: as configured.
        connect_timeout: Seconds per connection; None: as configured.
        concurrency: Probes at once; None: as configured.
        cache: Whether results of earlier runs and cached verdicts may be used.
        http: Check plain HTTP too, if the configuration enables it.
        http_port: The port of plain HTTP; None: as configured.
        always_http: Check plain HTTP even if the configuration disables it.
        zones: Zones from which each endpoint is visited in addition to its own, or "all".
    """

    client: str | None = None
    tag: str | None = None
    server: str | None = None
    resume: bool = False
    deep: bool = False
    full: bool = False
    overrides: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    ca_files: tuple[str, ...] = ()
    accept_suspect: bool = False
    timeout: float | None = None
    connect_timeout: float | None = None
    concurrency: int | None = None
    cache: bool = True
    http: bool = True
    http_port: int | None = None
    always_http: bool = False
    zones: tuple[str, ...] = ()


def checks_of(options: ScanOptions, setup: ScanSetup) -> str:
    """Return what decides what a scan checks, in words; empty for a scan without options. Pure.

    A run is resumed only with the same, since its results would mix both. Time limits, the number
    of connections and ``--accept-suspect`` are left out: they decide how a scan is done.
    """
    web = setup.web
    resolved = (f"{h}:{p}:{','.join(a)}" for (h, p), a in sorted(options.overrides.items()))
    parts = (
        "--deep" if options.deep else "",
        "--no-http" if web is None else "",
        f"--http-port {web.port}" if web is not None and web.port != DEFAULT_HTTP_PORT else "",
        "" if options.cache else "--no-cache",
        *(f"--resolve {r}" for r in resolved),
        *(f"--ca-file {f}" for f in sorted(options.ca_files)),
    )
    return " ".join(filter(None, parts))


def setup_for(
    settings: Settings, options: ScanOptions, *, guarded: bool, clock: Clock = system_clock
) -> ScanSetup:
    """Return the setup of a scan.

    Args:
        settings: The configuration.
        options: The options of this scan.
        guarded: Whether internal addresses from the DNS are refused. Use False only for targets
            that the user chose.
        clock: Dates each observation.
    """
    scan = settings.scan
    provider = networks(settings.network.provider, "[network] provider")
    limits = DialLimits(
        timeout=options.timeout or scan.timeout,
        # 0 in the configuration means no separate limit, which is None here.
        connect_timeout=options.connect_timeout or scan.connect_timeout or None,
        in_flight=options.concurrency or scan.concurrency,
        per_address=scan.per_address,
        rate=scan.rate,
        own=provider,
        families=frozenset(map(int, scan.families)),
        sources=scan.sources,
    )
    return ScanSetup(
        limits=limits,
        store=settings.trust.store,
        ca_files=(*settings.trust.ca_files, *options.ca_files),
        cache=options.cache,
        deep=options.deep,
        full=options.full,
        guarded=guarded,
        rules=load_rules(rules_path(settings.trust.rules)),
        fetch_issuers=settings.trust.fetch_issuers,
        resolvers=settings.scan.resolvers,
        # The networks of the provider may be private, and its servers must be scanned nevertheless.
        allowed=(*networks(settings.network.allow, "[network] allow"), *provider),
        provider=provider,
        overrides=options.overrides,
        # DNS queries must leave most of the time of a probe to the handshake.
        dns_timeout=min(2.0, limits.timeout / 3),
        web=_web(settings, options, provider),
        ehlo_name=scan.ehlo_name or own_name(),
        clock=clock,
        ignored=ignored_codes(settings),
    )


def ignored_codes(settings: Settings) -> frozenset[str]:
    """Return the codes of ``[checks] ignore``.

    Raises:
        ConfigError: A code does not exist, or is one of a fault.
    """
    for code in settings.checks.ignore:
        if code not in CODES:
            near = difflib.get_close_matches(code, sorted(CODES), n=1)
            raise ConfigError(
                f"[checks] ignore names '{printable(code, 60)}'",
                "it is not a finding code",
                f"Did you mean '{near[0]}'?" if near else "certmgr explain lists them.",
            )
        # An unseen fault takes a site offline: it can only be accepted until a date.
        if CODES[code].severity in ("critical", "high", "undetermined"):
            raise ConfigError(
                f"[checks] ignore names '{code}'",
                f"its severity is {CODES[code].severity}, and only remarks and medium findings can"
                " be ignored",
                f"To accept it until a date: certmgr finding accept {code}",
            )
    return frozenset(settings.checks.ignore)


def _web(
    settings: Settings, options: ScanOptions, provider: tuple[Network, ...]
) -> WebOptions | None:
    http = settings.http
    # A diagnosis always visits the pages; a scan does so if the configuration enables it.
    if not (options.always_http or (options.http and http.enabled)):
        return None
    # Operators of sites can identify the visits, and reach the contact of the configuration.
    agent = (
        f"certmgr/{__version__} (certificate and HTTPS"
        f" check{'; ' + http.contact if http.contact else ''})"
    )
    return WebOptions(
        port=options.http_port or http.port,
        user_agent=agent,
        per_address=http.per_address,
        rate=http.rate,
        own=provider,
    )
