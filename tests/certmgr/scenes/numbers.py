"""How many names are faulty, as each part of the program counts them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from tests.program import Ran

_SEVERE = ("critical", "high")


class Program(Protocol):
    """An installation whose commands can be called."""

    def run(self, *arguments: str, expect: int | None = 0) -> Ran:
        """Run a command."""


def faulty_names(place: Program, clients: Iterable[str]) -> dict[str, int]:
    """Return the number of names with a fault by where it is counted.

    Args:
        clients: All clients: their reports together show the whole inventory.
    """
    status = place.run("status", "--format", "json", expect=None).json
    causes = place.run("status", "--causes", "--format", "json", expect=None).json["causes"]
    metrics = place.run("metrics", expect=None).out
    reports = [
        place.run("report", "--client", c, "--format", "json", expect=None).json for c in clients
    ]
    page = place.run("dashboard", expect=None).out
    (tile,) = re.findall(r'<li class="tile fault"><strong>(\d+)</strong>', page)
    (plugin,) = re.findall(r"\| fault=(\d+);", place.run("check", expect=None).out)
    (gauge,) = re.findall(r'^certmgr_endpoints\{verdict="fault"\} ([0-9.]+)', metrics, re.MULTILINE)
    return {
        "status": status["summary"]["fault"],
        "rows of status": sum(e["verdict"] == "fault" for e in status["endpoints"]),
        "causes": len({t for c in causes if c["severity"] in _SEVERE for t in c["targets"]}),
        "metrics": int(float(gauge)),
        "check": int(plugin),
        "dashboard": int(tile),
        "reports": sum(s["state"] == "fault" for r in reports for s in r["sites"]),
    }


def named_in_digest(text: str) -> dict[str, int]:
    """Return the number of names by finding code, as the digest of the staff lists them.

    Args:
        text: The message, whose lines read ``- CODE: HOST and N more; ...``.
    """
    found: dict[str, int] = {}
    for code, more in re.findall(r"^- ([a-z-]+): [^\s;]+(?: and (\d+) more)?;", text, re.MULTILINE):
        found[code] = found.get(code, 0) + 1 + int(more or 0)
    return found


def left_in_digest(text: str, reference: str) -> int | None:
    """Return how many certificates of an incident are left; None if it is not in the digest."""
    found = re.search(rf"^- {reference}: .*, (\d+) of \d+ left", text, re.MULTILINE)
    return None if found is None else int(found[1])
