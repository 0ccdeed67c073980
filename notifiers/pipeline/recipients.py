"""Choose the recipients of notices: roles, resellers, fallbacks, deputies, bad addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time

from inventory.db.database import to_epoch
from inventory.records import ClientSummary, ReachableContact
from inventory.vocabulary import ItemStep
from notifiers.working_days import MONDAY_TO_FRIDAY, WorkingCalendar, zone_of

# The order in which the contacts of a client are asked, by default and for faults of a server.
_ROLES = {"": ("owner", "technical", "billing"), "host": ("technical", "owner", "billing")}
STAFF = ("administrator", "level2")


@dataclass(frozen=True, slots=True)
class Person:
    """One contact.

    Attributes:
        client_id: None for staff.
        contact_methods: Kind, value and state of each, in order of preference.
        away_until: The end of an absence, in seconds.
    """

    id: int
    client_id: int | None
    name: str
    role: str
    language: str
    zone: str
    calendar: WorkingCalendar
    contact_methods: tuple[tuple[str, str, str], ...]
    fallback_id: int | None = None
    away_until: int | None = None

    @property
    def contact_method(self) -> tuple[str, str] | None:
        """The first valid contact method for messages: email or channel, and its value."""
        return next(
            (
                (k, v)
                for k, v, state in self.contact_methods
                if k in ("email", "channel") and state == "good"
            ),
            None,
        )

    @property
    def phones(self) -> tuple[str, ...]:
        """The telephone numbers."""
        return tuple(v for k, v, _ in self.contact_methods if k == "phone")

    def away(self, now: datetime) -> bool:
        """Return whether the contact is absent."""
        return self.away_until is not None and to_epoch(now) < self.away_until


@dataclass(frozen=True, slots=True)
class RecipientChoice:
    """The recipient at a step of the escalation, or why there is none."""

    person: Person | None
    step: ItemStep
    reason: str = ""


class Recipients:
    """The contacts of clients and the staff.

    Args:
        clients: number, name, account_manager and reseller_id by client id.
    """

    def __init__(self, persons: Iterable[Person], clients: Mapping[int, ClientSummary]) -> None:
        self.by_id = {p.id: p for p in persons}
        self.clients = clients
        self.of_client: dict[int | None, list[Person]] = {}
        self.clients_by_addressee: dict[int, list[int]] = {}
        # A reseller gets one message with the topics of all its clients.
        for client_id in clients:
            self.clients_by_addressee.setdefault(self.addressee(client_id), []).append(client_id)
        for person in self.by_id.values():
            self.of_client.setdefault(person.client_id, []).append(person)

    def addressee(self, client_id: int) -> int:
        """Return the client whose contacts get the notices: the reseller, if there is one."""
        client = self.clients.get(client_id)
        # A reseller writes to its clients itself. If it is retired, its clients are notified
        # directly.
        reseller = client.reseller_id if client is not None else None
        return client_id if reseller is None or reseller not in self.clients else reseller

    def may_read(self, person: Person, client_id: int) -> bool:
        """Return whether a person may see the data of a client.

        That is so for contacts of the client and of its reseller. No data crosses this border.
        """
        return person.client_id is not None and person.client_id in (
            client_id,
            self.addressee(client_id),
        )

    def owner(self, client_id: int, now: datetime, *, technical: bool = False) -> RecipientChoice:
        """Return the recipient of the first step.

        If that contact is away or has no valid address, the fallback replaces them at once.
        """
        # Never the contacts of both: two parties would start the same work.
        known = self.of_client.get(self.addressee(client_id), [])
        roles = _ROLES["host" if technical else ""]
        ranked = sorted(
            (p for p in known if p.role in roles), key=lambda p: (roles.index(p.role), p.id)
        )
        # Staff learn of it, since a client without a contact is notified of nothing.
        if not ranked:
            return RecipientChoice(None, ItemStep.OWNER, "the client has no contact")
        first = ranked[0]
        if first.contact_method is not None and not first.away(now):
            return RecipientChoice(first, ItemStep.OWNER)
        why = (
            f"contact {first.id} is away"
            if first.away(now)
            else f"contact {first.id} has no valid address"
        )
        after = self.fallback(first, client_id, now)
        return RecipientChoice(
            after.person, ItemStep.FALLBACK, f"{why}; {after.reason}".rstrip("; ")
        )

    def chosen(
        self, contact_id: int | None, client_id: int, now: datetime
    ) -> RecipientChoice | None:
        """Return the named contact, if they may read the notice and can be reached now."""
        # The contact of a case may have been retired or moved to another client since it was
        # opened.
        person = self.by_id.get(contact_id or -1)
        if (
            person is None
            or person.contact_method is None
            or person.away(now)
            or not self.may_read(person, client_id)
        ):
            return None
        return RecipientChoice(person, ItemStep.OWNER)

    def fallback(self, person: Person, client_id: int, now: datetime) -> RecipientChoice:
        """Return the recipient of the second step.

        It is the fallback of the contact, else another contact of the same client.
        """
        named = self.by_id.get(person.fallback_id or -1)
        others = sorted(
            (p for p in self.of_client.get(person.client_id, []) if p.id != person.id),
            key=lambda p: p.id,
        )
        # The named fallback wins over other contacts.
        for candidate in ([named] if named is not None else []) + others:
            if (
                candidate.id != person.id
                and candidate.contact_method is not None
                and not candidate.away(now)
                and (candidate.client_id is None or self.may_read(candidate, client_id))
            ):
                # Notices to clients are not sent to staff.
                if candidate.client_id is None:
                    return RecipientChoice(
                        None,
                        ItemStep.FALLBACK,
                        "the fallback is a member of staff, who is notified by the digest",
                    )
                return RecipientChoice(candidate, ItemStep.FALLBACK)
        return RecipientChoice(
            None, ItemStep.FALLBACK, "no other contact of the client has a valid address"
        )

    def staff(self, now: datetime, role: str | None = None) -> list[Person]:
        """Return the staff who can be reached. Deputies replace those who cannot."""
        reachable: dict[int, Person] = {}
        for person in self.of_client.get(None, []):
            if role is not None and person.role != role:
                continue
            stand_in: Person | None = person
            if person.away(now) or person.contact_method is None:
                deputy = self.by_id.get(person.fallback_id or -1)
                # A deputy must be staff too: clients get no data of other clients.
                stand_in = (
                    deputy
                    if deputy is not None
                    and deputy.client_id is None
                    and deputy.contact_method is not None
                    else None
                )
            if stand_in is not None and stand_in.contact_method is not None:
                reachable[stand_in.id] = stand_in
        return list(reachable.values())


def person_of(
    row: ReachableContact,
    *,
    language: str,
    zone: str,
    country: str,
    hours: tuple[time, time],
    weekdays: frozenset[int] = MONDAY_TO_FRIDAY,
) -> Person:
    """Return the person of a contact with its contact methods.

    The keyword arguments are the provider's defaults for what the row leaves open.
    """
    calendar = WorkingCalendar(
        zone_of(row.time_zone, zone), row.country or country, *hours, weekdays
    )
    contact_methods = tuple((m.kind, m.value, m.state) for m in row.methods)
    return Person(
        id=row.id,
        client_id=row.client_id,
        name=row.name,
        role=row.role,
        language=row.language or language,
        zone=row.time_zone or zone,
        calendar=calendar,
        contact_methods=contact_methods,
        fallback_id=row.fallback_id,
        away_until=row.away_until,
    )
