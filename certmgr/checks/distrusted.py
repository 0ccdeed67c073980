"""CAs that browsers distrust, by name and date.

Pure: data and lookups.

Sources: Chrome 70 (Symantec, 2018-10); Chrome root store, Entrust and AffirmTrust by SCT after
2024-11-11 23:59:59 UTC (Chrome 131); CCADB, Chunghwa Telecom and NetLock by SCT after 2025-07-31
23:59:59 UTC (Chrome 139).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from inventory.certificates import Certificate


@dataclass(frozen=True, slots=True)
class Distrust:
    """One rule of the browsers."""

    ca: str
    organisations: tuple[str, ...]  # the O of the CA's own certificates
    after: datetime | None  # certificates logged later than this; None: all
    source: str


DISTRUSTED = (
    Distrust(
        "Symantec",
        ("Symantec Corporation", "VeriSign, Inc.", "GeoTrust Inc.", "thawte, Inc."),
        None,
        "Chrome 70, 2018-10",
    ),
    Distrust(
        "Entrust",
        ("Entrust, Inc.", "Entrust.net", "AffirmTrust"),
        datetime(2024, 11, 11, 23, 59, 59, tzinfo=UTC),
        "Chrome 131",
    ),
    Distrust(
        "Chunghwa Telecom",
        ("Chunghwa Telecom Co., Ltd.",),
        datetime(2025, 7, 31, 23, 59, 59, tzinfo=UTC),
        "Chrome 139",
    ),
    Distrust(
        "NetLock",
        ("NetLock Kft.", "NETLOCK Kft.", "NETLOCK Ltd."),
        datetime(2025, 7, 31, 23, 59, 59, tzinfo=UTC),
        "Chrome 139",
    ),
)


def distrusted(leaf: Certificate, root_subject: str) -> Distrust | None:
    """Return the rule that applies to a certificate; None if there is none.

    The date of the earliest SCT decides; without one, notBefore.

    Args:
        root_subject: The subject of the anchor of its path, as text.
    """
    rule = rule_for(root_subject)
    if rule is None or leaf.not_before is None:
        return None
    logged = min((t for _, t in leaf.scts), default=leaf.not_before)
    return rule if rule.after is None or logged > rule.after else None


@lru_cache(maxsize=4096)
def rule_for(root_subject: str) -> Distrust | None:
    """Return the rule about the CA of this name, for any date."""
    parts = {
        part.partition("=")[2]
        for part in root_subject.replace(", O=", "\nO=").replace(", CN=", "\nCN=").split("\n")
    }
    for rule in DISTRUSTED:
        if any(
            part == o or part.startswith(o + ", ") for part in parts for o in rule.organisations
        ):
            return rule
    return None
