"""How a report names sites: by their host, and by the port too if only one of several is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def ports_of_names(members: Iterable[tuple[str, str]]) -> Mapping[str, int]:
    """Return how many ports each name has. The members are (name, target)."""
    targets: dict[str, set[str]] = {}
    for name, target in members:
        targets.setdefault(name, set()).add(target)
    return {name: len(found) for name, found in targets.items()}


def site_names(members: Iterable[tuple[str, str]], ports: Mapping[str, int]) -> tuple[str, ...]:
    """Return the sites of a group, each once.

    A reader knows a site by its name, so that a name stands for all its ports. If the group does
    not have all of them, those that it has are named.

    Args:
        members: (name, target) of each; an empty target means the name with all its ports.
        ports: How many ports each name has in the whole report.
    """
    targets: dict[str, dict[str, None]] = {}
    for name, target in members:
        targets.setdefault(name, {})[target] = None
    found: list[str] = []
    for name, of_name in targets.items():
        is_whole = "" in of_name or len(of_name) >= ports.get(name, 1)
        found += [name] if is_whole else of_name
    return tuple(found)
