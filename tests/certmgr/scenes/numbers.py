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
    (gauge,) = re.findall(r'^certmgr_endpoints\{verdict="fault"\} ([0-9.]+)', metrics, re.MULTILINE)
    return {
        "status": status["summary"]["fault"],
        "rows of status": sum(e["verdict"] == "fault" for e in status["endpoints"]),
        "causes": len({t for c in causes if c["severity"] in _SEVERE for t in c["targets"]}),
        "metrics": int(float(gauge)),
        "reports": sum(s["state"] == "fault" for r in reports for s in r["sites"]),
    }
