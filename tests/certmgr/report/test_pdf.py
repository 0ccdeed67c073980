"""The PDF: tagged, with page numbers, without any request."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from certmgr.demo.pages import PageResponse, plain
from certmgr.demo.servers import Server, server_context
from certmgr.report import html, pdf
from certmgr.report.view import build
from notifiers.wording.catalogue import language
from tests.certmgr.report.provider import ReportProvider, hostile_input


def test_pdf_fetches_nothing(tmp_path: Path) -> None:
    """A page with a picture is rendered without a request."""
    requests: list[str] = []

    def answer(host: str, path: str) -> PageResponse:
        requests.append(path)
        return PageResponse(200, "x")

    server = Server(plain(answer))
    try:
        rendered = html.render(build(hostile_input()), language("en")).replace(
            "<main>", f'<main><img src="http://127.0.0.1:{server.port}/a.png" alt="">'
        )
        assert pdf.render(rendered, build(hostile_input()), language("en")).startswith(b"%PDF")
    finally:
        server.close()
    assert requests == []


def test_pdf_is_tagged_and_has_page_numbers_and_whole_rows(
    provider: ReportProvider, tmp_path: Path
) -> None:
    provider.client("1", "Many")
    hosts = [f"s{i}.example.test" for i in range(40)]
    provider.sites("1", hosts, server_context(provider.issuer.issue(*hosts)))
    provider.scan()
    report, reader_language = provider.report("1", language_code="de")
    path = tmp_path / "many.pdf"
    path.write_bytes(pdf.render(html.render(report, reader_language), report, reader_language))
    info = subprocess.run(["pdfinfo", str(path)], capture_output=True, text=True, check=True).stdout
    assert re.search(r"Tagged:\s+yes", info)
    count = int(re.search(r"Pages:\s+(\d+)", info).group(1))  # type: ignore[union-attr]
    assert count > 2
    for number in range(1, count + 1):
        text = subprocess.run(
            ["pdftotext", "-layout", "-f", str(number), "-l", str(number), str(path), "-"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"Seite {number} von {count}" in text
        names = set(re.findall(r"\bs\d+\.example\.test", text))
        measured = text.count("Gemessen:")
        if measured:
            assert measured <= len(names) + 1, "a row and its last line are on one page"
