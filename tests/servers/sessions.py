"""HTTP sessions to the servers of the tests."""

from __future__ import annotations

from pathlib import Path

import requests


def session(ca_file: Path | None = None) -> requests.Session:
    """Return a session that ignores the proxies of the environment and trusts only ``ca_file``."""
    made = requests.Session()
    made.trust_env = False
    if ca_file is not None:
        made.verify = str(ca_file)
    return made
