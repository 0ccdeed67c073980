"""The HTML of a report -> PDF by WeasyPrint (the extra ``pdf``): tagged, with page numbers.

Its fetcher refuses everything.
"""

from __future__ import annotations

from typing import Any

from certmgr.report.model import ClientReport
from inventory.errors import CertmgrError
from notifiers.wording.catalogue import Language


def render(html: str, report: ClientReport, language: Language) -> bytes:
    try:
        import weasyprint
        from weasyprint.urls import URLFetcher
    except (ImportError, OSError) as error:
        raise CertmgrError(
            "PDF cannot be made here",
            str(error)[:200],
            "Install certmgr[pdf] and Pango (Debian: libpango-1.0-0 libpangoft2-1.0-0), or use"
            " --format html.",
        ) from None

    class Refuse(URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: Any = None) -> Any:
            raise ValueError(f"a report loads nothing: {url[:80]}")

    refuse = Refuse()
    page = f'"{language("Page")} " counter(page) " {language("of")} " counter(pages)'
    sheet = weasyprint.CSS(
        string=(
            f"@page {{ size: A4; margin: 18mm 16mm 20mm; @bottom-right {{ content: {page}; font:"
            f' 9pt "DejaVu Sans", sans-serif; }} @bottom-left {{ content: "{_css(report.title)},'
            f' {_css(report.as_of_text)}"; font: 9pt "DejaVu Sans", sans-serif; }} }}'
        ),
        url_fetcher=refuse,
    )
    document = weasyprint.HTML(string=html, url_fetcher=refuse)
    data: bytes = document.write_pdf(stylesheets=[sheet], pdf_tags=True)
    return data


def _css(text: str) -> str:
    return "".join(c if c.isalnum() or c in " .,:" else " " for c in text)
