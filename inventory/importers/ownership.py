"""Which client owns the names of a server configuration or of a plain list. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from inventory.errors import InvalidName
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.plan import ImportPlan
from inventory.names import normalise_host


@dataclass(slots=True)
class NameSummary:
    """What an import found about names without a client.

    Attributes:
        known: Names that are in the inventory.
        new: Names that are not, and get the client of the command.
        proposed: New name -> (customer number, the domain above it).
        unassigned: New names without an owner.
    """

    known: set[str] = field(default_factory=set)
    new: set[str] = field(default_factory=set)
    proposed: dict[str, tuple[str, str]] = field(default_factory=dict)
    unassigned: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of names."""
        return len(self.known) + len(self.new) + len(self.proposed) + len(self.unassigned)


def assign(
    plan: ImportPlan,
    rows: Iterable[ImportRow | ImportProblem],
    client: str,
    *,
    accept: bool,
    summary: NameSummary,
) -> Iterable[ImportRow | ImportProblem]:
    """Yield the rows with their client, and count the names in ``summary``.

    A known name keeps its client, also if another client is given. A new name below the domain of
    another client is proposed to that client and not given to ``client``.

    Args:
        client: Customer number for new names; empty for none.
        accept: Whether proposals are accepted.
    """
    for row in rows:
        if isinstance(row, ImportProblem):
            yield row
            continue
        try:
            host = normalise_host(row.domain)
        # Passed on, so that the plan reports it with the reason.
        except InvalidName:
            yield replace(row, client=client)
            continue
        owner = _owner(plan, host)
        # A name keeps its client, whatever the command states: an import never moves a domain.
        if owner is not None:
            summary.known.add(host)
            yield replace(row, client=owner)
            continue
        above, parent = _above(plan, host)
        # A name below another client's domain is usually that client's, so it is proposed and not
        # given.
        if above and above != client:
            summary.proposed[host] = (above, parent)
            if accept:
                yield replace(row, client=above)
        elif client:
            summary.new.add(host)
            yield replace(row, client=client)
        else:
            # Without an owner the name is only counted: a record needs a client.
            summary.unassigned.setdefault(host, row.where)


def _owner(plan: ImportPlan, host: str) -> str | None:
    item = plan.items["domain"].get((host,))
    # Names that this import adds are new.
    return str(item.values["client_id"][0]) if item is not None and item.id is not None else None


def _above(plan: ImportPlan, host: str) -> tuple[str, str]:
    """Return the client and the nearest domain above a name; empty if there is none."""
    _, _, parent = host.partition(".")
    while parent:
        if (owner := _owner(plan, parent)) is not None:
            return owner, parent
        _, _, parent = parent.partition(".")
    return "", ""
