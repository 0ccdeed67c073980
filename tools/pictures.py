"""Create docs/pictures from the demonstration: ``PYTHONPATH=. python tools/pictures.py``.

It needs Chromium and pdftoppm, like the tests.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from certmgr.compliance.load import all_deadlines
from certmgr.config.context import Context
from certmgr.config.settings import (
    HttpSettings,
    ProviderSettings,
    ScanSettings,
    Settings,
    TrustSettings,
)
from certmgr.demo import run
from certmgr.demo.sites import open_sites
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.report import html, pdf
from certmgr.report.load import load_report_input
from certmgr.report.view import build
from inventory.db.opening import open_database
from inventory.store import clients, findings
from inventory.vocabulary import FindingDecision
from tests.servers import chromium

OUT = Path(__file__).parents[1] / "docs" / "pictures"


# Client, language, dark mode and width of each picture.
PICTURES = (("1002", "en", False, 900), ("1001", "de", True, 900), ("1003", "en", False, 380))
PDF_OF = "1002"


def main() -> None:
    """Scan the sites of the demonstration and take pictures of the reports."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, chromium.browser(drawn=True) as browser:
        folder = Path(name)
        context = _scanned(folder)
        for number, language, dark, width in PICTURES:
            report_input = load_report_input(
                context,
                number,
                as_of=None,
                deadlines=all_deadlines(context.database),
                chosen_language=language,
            )
            report = build(report_input)
            page = html.render(report, report_input.language)
            (folder / "page.html").write_text(page, encoding="utf-8")
            browser.open(folder / "page.html", dark=dark, width=width)
            variant = f"{'dark' if dark else 'light'}{'-narrow' if width < 600 else ''}"
            browser.picture(
                OUT / f"report-{language}-{variant}.png",
                6000 if language == "en" and width > 600 else 2400,
            )
            if number == PDF_OF:
                (folder / "report.pdf").write_bytes(pdf.render(page, report, report_input.language))
                _picture_of_pdf(folder / "report.pdf", OUT / "report-pdf")


def _scanned(folder: Path) -> Context:
    """Scan the sites of the demonstration, and assign one of the faults."""
    sites = open_sites()
    (folder / "root.pem").write_bytes(sites.root.pem)
    database = open_database(str(folder / "demo.db"), actor="demo")
    run.fill_inventory(database, sites)
    settings = replace(
        Settings(),
        provider=ProviderSettings("Demo Hosting", time_zone="Europe/Berlin"),
        scan=ScanSettings(timeout=2.5, per_address=0, rate=0.0),
        trust=TrustSettings(ca_files=(str(folder / "root.pem"),)),
        http=HttpSettings(port=sites.http_port, per_address=0, rate=0.0),
    )
    context = Context(database, settings, database.clock)
    ScanRun(context, ScanOptions(overrides=sites.overrides())).run()
    sites.close()
    with context.write() as tx:
        code = "certificate-expired"
        findings.accept(
            tx,
            code,
            frozenset({code}),
            context.now() + timedelta(days=2),
            "renewal",
            client_id=clients.find(tx.conn, "1001").id,
            kind=FindingDecision.ASSIGN,
            by="Ines Albrecht",
        )
    return context


def _picture_of_pdf(path: Path, out: Path) -> None:
    """Write the first page of a PDF as a PNG file."""
    command = ["pdftoppm", "-r", "60", "-f", "1", "-l", "1", "-png", "-singlefile"]
    subprocess.run([*command, str(path), str(out)], check=True)


if __name__ == "__main__":
    main()
