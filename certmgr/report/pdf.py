"""Rendering of a report as tagged PDF with page numbers, by WeasyPrint (the extra ``pdf``).

WeasyPrint is not allowed to fetch any resource.
"""

from __future__ import annotations

from typing import Any

from certmgr.report.model import ClientReport
from inventory.errors import CertmgrError
from notifiers.wording.catalogue import Language


def render(html: str, report: ClientReport, language: Language) -> bytes:
    """Return the PDF of a report.

    Args:
        html: The page of :func:`certmgr.report.html.render`.
        report: The report, for the page footer.
        language: Language of the page footer.

    Raises:
        CertmgrError: WeasyPrint or one of its libraries is not installed.
    """
    # WeasyPrint is an optional extra and slow to import, so it is imported only here.
    try:
        import weasyprint
        from weasyprint.urls import URLFetcher
    except (ImportError, OSError) as error:
        raise CertmgrError(
            "A PDF cannot be written on this machine",
            str(error)[:200],
            "Install certmgr[pdf] and Pango (Debian: libpango-1.0-0 libpangoft2-1.0-0), or use"
            " --format html.",
        ) from None

    class RefusingFetcher(URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: Any = None) -> Any:
            raise ValueError(f"a report must not load resources: {url[:80]}")

    # The page contains texts of servers, which must not make this machine send requests.
    fetcher = RefusingFetcher()
    page = f'"{language("Page")} " counter(page) " {language("of")} " counter(pages)'
    sheet = weasyprint.CSS(
        string=(
            f"@page {{ size: A4; margin: 18mm 16mm 20mm; @bottom-right {{ content: {page}; font:"
            f' 9pt "DejaVu Sans", sans-serif; }} @bottom-left {{ content: "{_css(report.title)},'
            f' {_css(report.as_of_text)}"; font: 9pt "DejaVu Sans", sans-serif; }} }}'
        ),
        url_fetcher=fetcher,
    )
    document = weasyprint.HTML(string=html, url_fetcher=fetcher)
    data: bytes = document.write_pdf(stylesheets=[sheet], pdf_tags=True)
    return data


def _css(text: str) -> str:
    """Return the text for a CSS string, without characters that could end the string."""
    return "".join(c if c.isalnum() or c in " .,:" else " " for c in text)
