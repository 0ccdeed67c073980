"""What the configuration and the data of a machine decide in its reports.

Workers on other machines render as the machine of the command would: with its settings, which they
get, and with the same data, or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from certmgr import __version__
from certmgr.config.settings import Settings
from certmgr.x509.trust import TrustStore
from certmgr.x509.trust_data import load_rules, rules_path

# The lead times of purchases. Nothing else of the section is passed on: it has credentials.
_NOTIFY = ("purchase_days", "validation_days", "installation_days")


def report_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the settings that reports depend on, by section."""
    notify = {name: getattr(settings.notify, name) for name in _NOTIFY}
    return {"provider": asdict(settings.provider), "notify": notify}


def with_report_settings(settings: Settings, given: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Return the settings of a worker with those of the command."""
    return replace(
        settings,
        provider=replace(settings.provider, **given["provider"]),
        notify=replace(settings.notify, **given["notify"]),
    )


def report_data(settings: Settings) -> str:
    """Return what names the data that reports depend on: the program, trust rules and roots."""
    store = TrustStore.load(settings.trust.store, settings.trust.ca_files)
    roots = "".join(sorted(c.sha256 for c in store.public_anchors()))
    rules = load_rules(rules_path(settings.trust.rules)).version
    return (
        f"certmgr {__version__}, trust rules {rules},"
        f" roots {hashlib.sha256(roots.encode()).hexdigest()[:12]}"
    )
