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
from certmgr.config.settings import HttpSettings, ScanSettings, Settings, TrustSettings
from certmgr.demo import run
from certmgr.demo.sites import open_sites
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.report import html, pdf
from certmgr.report.load import load_report_input
from certmgr.report.view import build
from inventory.clock import system_clock
from inventory.db.opening import open_database
from inventory.store import clients, findings
from tests.servers import chromium

OUT = Path(__file__).parents[1] / "docs" / "pictures"


def main() -> None:
    """Scan the sites of the demonstration and take pictures of the reports."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, chromium.browser(drawn=True) as browser:
        folder, sites = Path(name), open_sites()
        (folder / "root.pem").write_bytes(sites.root.pem)
        database = open_database(str(folder / "demo.db"), actor="demo")
        run.fill_inventory(database, sites)
        settings = replace(
            Settings(),
            scan=ScanSettings(timeout=2.5, per_address=0, rate=0.0),
            trust=TrustSettings(ca_files=(str(folder / "root.pem"),)),
            http=HttpSettings(port=sites.http_port, per_address=0, rate=0.0),
        )
        ScanRun(
            Context(database, settings, database.clock), ScanOptions(overrides=sites.overrides())
        ).run()
        sites.close()
        now = system_clock()
        with database.write() as tx:
            row = clients.find(tx.conn, "1001")
            until, code = now + timedelta(days=2), "certificate-expired"
            findings.accept(
                tx,
                code,
                frozenset({code}),
                until,
                "renewal",
                client_id=row.id,
                kind="take",
                by="Ines Albrecht",
            )
        for number, report_language, dark, width in (
            ("1002", "en", False, 900),
            ("1001", "de", True, 900),
            ("1003", "en", False, 380),
        ):
            report_input = load_report_input(
                database,
                number,
                now,
                as_of=None,
                provider="Demo Hosting",
                deadlines=all_deadlines(database),
                default_language="en",
                default_zone="Europe/Berlin",
                chosen_language=report_language,
            )
            report = build(report_input)
            page = html.render(report, report_input.language)
            (folder / "page.html").write_text(page, encoding="utf-8")
            browser.open(folder / "page.html", dark=dark, width=width)
            variant = f"{'dark' if dark else 'light'}{'-narrow' if width < 600 else ''}"
            browser.picture(
                OUT / f"report-{report_language}-{variant}.png",
                6000 if report_language == "en" and width > 600 else 2400,
            )
            if number == "1002":
                (folder / "report.pdf").write_bytes(pdf.render(page, report, report_input.language))
                command = [
                    "pdftoppm",
                    "-r",
                    "60",
                    "-f",
                    "1",
                    "-l",
                    "1",
                    "-png",
                    "-singlefile",
                    str(folder / "report.pdf"),
                    str(OUT / "report-pdf"),
                ]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
