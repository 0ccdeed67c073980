"""Dated rules as values: those that ship with certmgr (milestones.toml), and the provider's own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path

# Days that a step usually takes: from the order to the certificate, and to its installation.
PURCHASE_DAYS, VALIDATION_DAYS, INSTALLATION_DAYS = 7, 7, 7


@dataclass(frozen=True, slots=True)
class Deadline:
    """A dated rule.

    ``at``: from then on it holds (of one's own: the last second at which one may still not comply).

    ``rule``: a name of :data:`certmgr.compliance.rules.RULES`, empty where nothing can be checked.
    ``precision``: day, month, year, or in-force where the beginning is not known. ``confirmed``
    False: announced, and not known to have taken effect. ``clients`` and ``tags``: whom it is for;
    both empty: everybody. ``issuer``: only where a certificate of this organisation is served.
    ``for_clients`` False: for administrators alone.
    """

    name: str
    at: datetime
    title: str
    rule: str = ""
    affects: str = ""
    source: str = ""
    confidence: str = ""
    confirmed: bool = True
    precision: str = "day"
    own: bool = False
    text: str = ""
    clients: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    purchase_days: int = PURCHASE_DAYS
    validation_days: int = VALIDATION_DAYS
    installation_days: int = INSTALLATION_DAYS
    issuer: str = ""
    for_clients: bool = True

    def is_for(self, client: str, tags: frozenset[str]) -> bool:
        """``tags``: of the domain and of its client."""
        if not self.clients and not self.tags:
            return True
        return client in self.clients or bool(self.tags & tags)


FILE = Path(__file__).with_name("milestones.toml")


@lru_cache(maxsize=1)
def milestones() -> tuple[Deadline, ...]:
    """Those that ship with certmgr, soonest first."""
    found = []
    for name, row in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        day: date = row["date"]
        tags = frozenset({row["tag"]}) if "tag" in row else frozenset()
        found.append(
            Deadline(
                name=name,
                at=datetime.combine(day, time(0), UTC),
                title=row["title"],
                rule=row.get("rule", ""),
                affects=row["affects"],
                source=row["source"],
                confidence=row["confidence"],
                confirmed=row.get("confirmed", True),
                precision=row.get("date_precision", "day"),
                tags=tags,
                issuer=row.get("issuer", ""),
                for_clients=row.get("audience") != "administrators",
            )
        )
    return tuple(sorted(found, key=lambda d: (d.at, d.name)))
