"""Settings of scans without limits that a test would wait for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from certmgr.config.settings import Settings

DAY = timedelta(days=1)


def scan_settings(settings: Settings, **changes: Any) -> Settings:
    return replace(settings, scan=replace(settings.scan, **changes))
