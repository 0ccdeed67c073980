"""Rendering of the dashboard as one HTML file, without scripts and remote resources.

The bars are drawings without text and stretch with the page; the numbers stand in the cells next
to them. So nothing overlaps at any width, and a screen reader gets the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certmgr.dashboard.model import Dashboard, Week
from certmgr.pages.template import SYMBOLS, render_page
from notifiers.wording.catalogue import Language
from notifiers.wording.dashboard import DashboardPhrases as P

FOLDER = Path(__file__).with_name("templates")
# What stands below the faults must be reachable by eye. The other causes open with a click.
OPEN_CAUSES = 10


@dataclass(frozen=True, slots=True)
class ReportLink:
    """The report of one client.

    Attributes:
        href: The file, relative to the page.
        state: The state of the report: ok, attention, fault or unknown.
        text: The state in words.
    """

    href: str
    state: str
    text: str


def render(
    dashboard: Dashboard, language: Language, reports: Mapping[str, ReportLink] | None = None
) -> str:
    """Return the page.

    Args:
        dashboard: The dashboard.
        language: The language of the reader.
        reports: Number of a client -> its report. Without it, the page links no report.
    """
    # The number of a client may contain any character, so the anchors are counted.
    anchors = {c.number: f"#client-{n}" for n, c in enumerate(dashboard.clients, 1)}

    def href(number: str) -> str:
        """Return the link of a client; empty if the page does not list it."""
        report = (reports or {}).get(number)
        # The report has more details than the row of the client on this page.
        return report.href if report is not None else anchors.get(number, "")

    return render_page(
        FOLDER,
        "dashboard.html",
        d=dashboard,
        open_causes=OPEN_CAUSES,
        _=language,
        symbol=SYMBOLS[dashboard.state],
        href=href,
        reports=reports or {},
        percent=percent,
        columns=columns(dashboard.later),
        # One bar per run: critical and high findings are faults alike.
        faults=[t.critical + t.high for t in dashboard.trend],
        ended=language.count(P.ended, P.ended_many, dashboard.ended),
        peak=_peak(dashboard.later, language),
        more=lambda n: language("and {n} more").replace("{n}", str(n)),
    )


def percent(value: int, values: Sequence[int]) -> str:
    """Return the width of a bar, in proportion to the longest."""
    # At least 1, so that a chart without values does not divide by zero.
    longest = max([*values, 1])
    # One of many is still visible.
    return f"{max(100 * value / longest, 1.0 if value else 0.0):.1f}%"


@dataclass(frozen=True, slots=True)
class DrawnWeek:
    """One column of the chart, in units of the drawing: 10 wide and 100 high per week."""

    x: int
    automatic: float
    by_hand: float


def columns(weeks: Sequence[Week]) -> tuple[DrawnWeek, ...]:
    """Return the columns of the chart; the highest has the whole height."""
    # As in percent(), an empty chart must not divide by zero.
    highest = max([w.total for w in weeks] + [1])
    return tuple(
        DrawnWeek(
            10 * n, round(100 * w.automatic / highest, 2), round(100 * w.by_hand / highest, 2)
        )
        for n, w in enumerate(weeks)
    )


def _peak(weeks: Sequence[Week], language: Language) -> str:
    highest = max(weeks, key=lambda w: w.total)
    return language(P.peak).format(date=highest.text, n=highest.total)
