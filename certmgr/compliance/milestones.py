"""Dated rules as values: the milestones of milestones.toml, and the deadlines of the provider."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path

# The default lead times in days of the steps that lead to an installed certificate.
PURCHASE_DAYS, VALIDATION_DAYS, INSTALLATION_DAYS = 7, 7, 7


@dataclass(frozen=True, slots=True)
class Deadline:
    """A dated rule.

    Attributes:
        name: Its name on the command line.
        at: When it takes effect. For a deadline of the provider, it is the last second at which a
            domain may still violate the rule.
        title: What happens, in plain words.
        rule: A name of :data:`certmgr.compliance.rules.RULES`; empty if nothing can be checked.
        affects: Which sites, certificates or users it affects.
        source: Where it is published.
        confidence: V (read in the primary source), S (read in an excerpt), or M (from memory).
        confirmed: False if it is announced, and not known to have taken effect.
        precision: day, month or year; or in-force if the beginning is unknown.
        own: Whether it is a deadline of the provider.
        text: A text of the provider for its clients.
        clients: The clients to which it applies. With ``tags`` also empty: all clients.
        tags: The tags of domains and clients to which it applies.
        purchase_days: Days from the decision to the purchase.
        validation_days: Days from the purchase to the validation.
        installation_days: Days from the validation to the installation.
        issuer: It applies only if a certificate of this organisation is served.
        for_clients: False if only administrators need to know it.
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
        """Return whether it applies to a domain. ``tags``: of the domain and of its client."""
        if not self.clients and not self.tags:
            return True  # the deadline is not restricted
        return client in self.clients or bool(self.tags & tags)


FILE = Path(__file__).with_name("milestones.toml")


@lru_cache(maxsize=1)
def milestones() -> tuple[Deadline, ...]:
    """Return the milestones that ship with certmgr, the earliest first."""
    deadlines = []
    for name, row in tomllib.loads(FILE.read_text(encoding="utf-8")).items():
        # A milestone takes effect at the beginning of its day (UTC).
        day: date = row["date"]
        tags = frozenset({row["tag"]}) if "tag" in row else frozenset()
        deadlines.append(
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
    return tuple(sorted(deadlines, key=lambda d: (d.at, d.name)))
