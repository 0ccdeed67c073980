"""The badge "HTTPS in order" as SVG, which a client may show on its sites.

It is made only if it is true: each site was tested within the last days and is in order, nothing
has to be done, and no fault was accepted. It has the day of the test, because it can outlive it.
"""

from __future__ import annotations

from datetime import timedelta
from xml.sax.saxutils import escape, quoteattr

from certmgr.report.model import ClientReport
from certmgr.report.names import ports_of_names, site_names
from inventory.dates import shifted
from inventory.errors import CertmgrError
from inventory.text import printable
from notifiers.wording.catalogue import Language
from notifiers.wording.report import ReportPhrases as P

# A scan that is older states nothing about today.
MAX_AGE = timedelta(days=7)
# The attribute that distinguishes a badge from another file.
MARK = b'data-badge="certmgr"'
_HEIGHT, _FONT = 28, 12
# An upper estimate, in units; textLength then fits the text to its box in any font.
_CHARACTER, _PADDING, _SYMBOL = 7.2, 10, 26


def why_not(report: ClientReport) -> str:
    """Return why a badge would not be true; empty if it is."""
    if not report.sites:
        return "the client has no site"
    ports = ports_of_names((s.name, s.target) for s in report.sites)
    bad = site_names(((s.name, s.target) for s in report.sites if s.state != "ok"), ports)
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        return f"not in order: {', '.join(bad[:3])}{more}"
    if report.state != "ok":
        return f"the summary of the report is: {report.summary}"
    oldest = shifted(report.as_of, -MAX_AGE)
    old = [s.name for s in report.sites if s.measured is None or s.measured < oldest]
    return f"{old[0]} was not tested within {MAX_AGE.days} days" if old else ""


def render(report: ClientReport, language: Language) -> str:
    """Return the badge.

    Raises:
        CertmgrError: It would not be true.
    """
    if reason := why_not(report):
        raise CertmgrError(
            f"The client {printable(report.client, 60)} gets no badge",
            printable(reason, 300),
            "See certmgr report --client NUMBER.",
        )
    # The first test counts, so that the day is true for each site.
    tested = min(s.measured for s in report.sites if s.measured is not None)
    date = language.date(tested)
    left, right = language(P.badge), language(P.badge_tested).format(date=date)
    title = language.count(P.badge_title, P.badge_title_many, len(report.sites))
    title = title.format(client=printable(report.client_name, 100), date=date)
    left_text, right_text = (round(_CHARACTER * len(t)) for t in (left, right))
    split = _SYMBOL + left_text + _PADDING
    width = split + right_text + 2 * _PADDING
    font = 'font-family="DejaVu Sans, Verdana, Arial, sans-serif"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}"'
        f' viewBox="0 0 {width} {_HEIGHT}" role="img" aria-label={quoteattr(title)}'
        f' lang="{report.language}" {MARK.decode()}>'
        f"<title>{escape(title)}</title>"
        f'<rect width="{width}" height="{_HEIGHT}" rx="5" fill="#ffffff"/>'
        f'<path d="M5 0H{split}V{_HEIGHT}H5a5 5 0 0 1-5-5V5a5 5 0 0 1 5-5Z" fill="#17653a"/>'
        f'<rect x=".5" y=".5" width="{width - 1}" height="{_HEIGHT - 1}" rx="4.5" fill="none"'
        ' stroke="#17653a"/>'
        '<path d="M9 14l4 4 7-8" fill="none" stroke="#ffffff" stroke-width="2.5"/>'
        f'<text x="{_SYMBOL}" y="18.5" font-size="{_FONT}" font-weight="700" fill="#ffffff"'
        f' textLength="{left_text}" lengthAdjust="spacingAndGlyphs" {font}>{escape(left)}</text>'
        f'<text x="{split + _PADDING}" y="18.5" font-size="{_FONT}" fill="#1b1f24"'
        f' textLength="{right_text}" lengthAdjust="spacingAndGlyphs" {font}>{escape(right)}</text>'
        "</svg>\n"
    )
