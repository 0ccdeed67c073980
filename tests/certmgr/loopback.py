"""Settings for tests that share servers on loopback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from certmgr.config.settings import HttpSettings, ScanSettings, Settings, TrustSettings
from certmgr.demo.authority import Authority
from tests.campaign import UNREACHED


def loopback_settings(root: Authority, folder: Path) -> Settings:
    """Return the settings of the fixture ``settings``, for fixtures with a wider scope."""
    path = folder / "root.pem"
    path.write_bytes(root.pem)
    return replace(
        Settings(),
        scan=ScanSettings(timeout=UNREACHED, per_address=0, rate=0.0),
        trust=TrustSettings(ca_files=(str(path),)),
        http=HttpSettings(enabled=False, per_address=0, rate=0.0),
    )
