"""The configuration of one zone: the machine's, with the keys of [zones.NAME] over it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from certmgr.config.settings import ScanSettings, Settings, resolver_parts
from certmgr.config.zone_settings import FAMILIES, ZoneSettings
from inventory.errors import ConfigError
from inventory.names import as_ip
from inventory.zone_names import DEFAULT_ZONE, is_zone_name


def in_zone(settings: Settings, name: str) -> Settings:
    """Return the configuration of work that is done from a zone.

    Args:
        settings: The configuration of the machine.
        name: The zone. The default zone is the machine as [scan] and [network] describe it.

    Raises:
        ConfigError: This machine has no section for the zone.
    """
    if name == DEFAULT_ZONE:
        return settings
    zone = settings.zones.get(name)
    if zone is None:
        known = ", ".join(settings.zones) or "none"
        raise ConfigError(
            f"This machine has no zone '{name}'",
            f"{settings.source} describes {known} in [zones.NAME]",
            f"Write [zones.{name}] with what differs from [scan], or nothing below it.",
        )
    scan, network = settings.scan, settings.network
    return replace(
        settings,
        scan=replace(
            scan,
            families=zone.families or scan.families,
            sources=zone.sources or scan.sources,
            resolvers=zone.resolvers or scan.resolvers,
            controls=zone.controls or scan.controls,
        ),
        network=replace(network, allow=zone.allow or network.allow),
    )


def check_zones(settings: Settings) -> None:
    """Check [scan] families and sources, and all zones.

    Raises:
        ConfigError: A value is invalid.
    """
    _check_reach(settings.scan, "[scan]")
    for name, zone in settings.zones.items():
        # The name stands in rows, queues and commands, so that it needs no quoting anywhere.
        if not is_zone_name(name) or name == DEFAULT_ZONE:
            raise ConfigError(
                f"[zones.{name}] has a name that no zone can have",
                f"'{DEFAULT_ZONE}' is the machine itself, and other names have 1 to 40 small"
                " letters, digits, '-' and '_'",
                "Write [zones.fra1], for example.",
            )
        _check_reach(zone, f"[zones.{name}]")


def _check_reach(section: ScanSettings | ZoneSettings, where: str) -> None:
    """Check what a machine may reach from a zone."""
    for family in section.families:
        if family not in FAMILIES:
            raise ConfigError(f"{where} families has '{family}'", 'it must be "4" or "6"')
    if isinstance(section, ScanSettings) and not section.families:
        raise ConfigError(f"{where} families is empty", "no address could be visited")
    _check_sources(section.sources, where)
    for resolver in section.resolvers:
        host, port = resolver_parts(resolver)
        # A resolver by name would need another resolver to find it.
        if as_ip(host) is None or not (port.isascii() and port.isdigit()):
            raise ConfigError(
                f"{where} resolvers has '{resolver}'",
                "a resolver must be an IP address",
                "Write 192.0.2.53 or 192.0.2.53:5353.",
            )


def _check_sources(sources: Sequence[str], where: str) -> None:
    versions = []
    for source in sources:
        address = as_ip(source)
        if address is None:
            raise ConfigError(
                f"{where} sources has '{source}'",
                "it must be an IP address of this machine",
                "Write 192.0.2.10.",
            )
        versions.append(address.version)
    # A connection has one source, so a second address of a version would never be used.
    if len(set(versions)) < len(versions):
        raise ConfigError(f"{where} sources has two addresses of one IP version", "one is used")
