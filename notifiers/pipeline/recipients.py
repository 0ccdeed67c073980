"""Whom to write to: roles, resellers, fallbacks, deputies, bad addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from inventory.db.database import to_epoch
from notifiers.working_days import MONDAY_TO_FRIDAY, WorkingCalendar, zone_of

# Whose matter it is decides who is asked first.
_ROLES = {"": ("owner", "technical", "billing"), "host": ("technical", "owner", "billing")}
STAFF = ("administrator", "level2")


@dataclass(frozen=True, slots=True)
class Person:
    """One contact. ``ways``: (kind, value, state) in order of preference."""

    id: int
    client_id: int | None
    name: str
    role: str
    language: str
    zone: str
    calendar: WorkingCalendar
    ways: tuple[tuple[str, str, str], ...]
    fallback_id: int | None = None
    away_until: int | None = None

    @property
    def way(self) -> tuple[str, str] | None:
        """The first good way that a message can be sent by: (email or channel, value)."""
        return next(
            ((k, v) for k, v, state in self.ways if k in ("email", "channel") and state == "good"),
            None,
        )

    @property
    def phones(self) -> tuple[str, ...]:
        return tuple(v for k, v, _ in self.ways if k == "phone")

    def away(self, now: datetime) -> bool:
        return self.away_until is not None and to_epoch(now) < self.away_until


@dataclass(frozen=True, slots=True)
class RecipientChoice:
    """Who is written to at which step, or why nobody is."""

    person: Person | None
    step: str
    reason: str = ""


class Recipients:
    """Everybody, by client. ``clients``: id -> number, name, account_manager, reseller_id."""

    def __init__(self, persons: Iterable[Person], clients: Mapping[int, Mapping[str, Any]]) -> None:
        self.by_id = {p.id: p for p in persons}
        self.clients = clients
        self.of_client: dict[int | None, list[Person]] = {}
        self.written_for: dict[int, list[int]] = {}  # who is written to -> for which clients
        for client_id in clients:
            self.written_for.setdefault(self.addressee(client_id), []).append(client_id)
        for person in self.by_id.values():
            self.of_client.setdefault(person.client_id, []).append(person)

    def addressee(self, client_id: int) -> int:
        """The client that is written to: a reseller in the place of its clients."""
        reseller = self.clients.get(client_id, {}).get("reseller_id")
        return client_id if reseller is None or reseller not in self.clients else int(reseller)

    def may_read(self, person: Person, client_id: int) -> bool:
        """Whether a client's affairs are this person's: of that client, or of its reseller.

        The border that no data crosses.
        """
        return person.client_id is not None and person.client_id in (
            client_id,
            self.addressee(client_id),
        )

    def owner(self, client_id: int, now: datetime, *, technical: bool = False) -> RecipientChoice:
        """The first step. Where the contact has no good address, the fallback stands in at once."""
        known = self.of_client.get(self.addressee(client_id), [])
        roles = _ROLES["host" if technical else ""]
        ranked = sorted(
            (p for p in known if p.role in roles), key=lambda p: (roles.index(p.role), p.id)
        )
        if not ranked:
            return RecipientChoice(None, "owner", "the client has no contact")
        first = ranked[0]
        if first.way is not None and not first.away(now):
            return RecipientChoice(first, "owner")
        why = (
            f"contact {first.id} is away"
            if first.away(now)
            else f"contact {first.id} has no good address"
        )
        after = self.fallback(first, client_id, now)
        return RecipientChoice(after.person, "fallback", f"{why}; {after.reason}".rstrip("; "))

    def chosen(
        self, contact_id: int | None, client_id: int, now: datetime
    ) -> RecipientChoice | None:
        """The contact that was named, if it may read it and can be written to now."""
        person = self.by_id.get(contact_id or -1)
        if (
            person is None
            or person.way is None
            or person.away(now)
            or not self.may_read(person, client_id)
        ):
            return None
        return RecipientChoice(person, "owner")

    def fallback(self, person: Person, client_id: int, now: datetime) -> RecipientChoice:
        """The second step: the contact's own fallback, else another contact of the same client."""
        named = self.by_id.get(person.fallback_id or -1)
        others = sorted(
            (p for p in self.of_client.get(person.client_id, []) if p.id != person.id),
            key=lambda p: p.id,
        )
        for candidate in ([named] if named is not None else []) + others:
            if (
                candidate.id != person.id
                and candidate.way is not None
                and not candidate.away(now)
                and (candidate.client_id is None or self.may_read(candidate, client_id))
            ):
                if candidate.client_id is None:
                    return RecipientChoice(
                        None,
                        "fallback",
                        "the fallback is one of the staff, who see it in their digest",
                    )
                return RecipientChoice(candidate, "fallback")
        return RecipientChoice(
            None, "fallback", "no other contact of the client has a good address"
        )

    def staff(self, now: datetime, role: str | None = None) -> list[Person]:
        """The provider's own people with a good address; in the place of those who are away their
        deputies.
        """
        found: dict[int, Person] = {}
        for person in self.of_client.get(None, []):
            if role is not None and person.role != role:
                continue
            stand_in: Person | None = person
            if person.away(now) or person.way is None:
                deputy = self.by_id.get(person.fallback_id or -1)
                stand_in = (
                    deputy
                    if deputy is not None and deputy.client_id is None and deputy.way is not None
                    else None
                )
            if stand_in is not None and stand_in.way is not None:
                found[stand_in.id] = stand_in
        return list(found.values())


def person_of(
    row: Mapping[str, Any],
    *,
    language: str,
    zone: str,
    country: str,
    hours: tuple[time, time],
    weekdays: frozenset[int] = MONDAY_TO_FRIDAY,
) -> Person:
    """From a contact's row with ``ways``; what it does not say is the provider's."""
    calendar = WorkingCalendar(
        zone_of(row["time_zone"], zone), row["country"] or country, *hours, weekdays
    )
    ways = tuple((kind, value, state) for _, kind, value, state in row["ways"])
    return Person(
        id=row["id"],
        client_id=row["client_id"],
        name=row["name"],
        role=row["role"],
        language=row["language"] or language,
        zone=row["time_zone"] or zone,
        calendar=calendar,
        ways=ways,
        fallback_id=row["fallback_id"],
        away_until=row["away_until"],
    )
