"""HTML, PDF, JSON and CSV contain the same facts and nothing of another client."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta
from pathlib import Path

from certmgr.demo.authority import Authority, self_signed
from certmgr.demo.pages import page
from certmgr.demo.servers import server_context
from certmgr.report import html, pdf, tabular
from certmgr.report.model import ClientReport
from certmgr.report.view import build
from inventory.store import contacts
from notifiers.wording.catalogue import Language, language
from tests.certmgr.report.provider import ReportProvider, hostile_input, pdf_text, text_of
from tests.clock import clock


def formats(report: ClientReport, reader_language: Language, folder: Path) -> dict[str, str]:
    """Return the report in each format; the PDF as text."""
    rendered = html.render(report, reader_language)
    return {
        "html": rendered,
        "pdf": pdf_text(pdf.render(rendered, report, reader_language), folder / "r.pdf"),
        "json": tabular.to_json(report),
        "csv": tabular.to_csv(report),
    }


def test_formats_contain_the_same_facts(provider: ReportProvider, tmp_path: Path) -> None:
    provider.client(
        "1001", "Shop & Söhne", hosts="us", dns="client", buys="client", renews="client"
    )
    now = clock()
    old = provider.issuer.issue(
        "a.example.test", not_before=now - timedelta(days=60), not_after=now - timedelta(days=1)
    )
    provider.site("1001", "a.example.test", server_context(old))
    provider.site("1001", "b.example.test", server_context(provider.issuer.issue("b.example.test")))
    provider.site(
        "1001",
        "c.example.test",
        server_context(provider.issuer.issue("c.example.test")),
        page("x", "<img src=http://x.test/a.png>"),
    )
    provider.scan()
    for code in ("en", "de"):
        report, reader_language = provider.report("1001", language_code=code)
        rendered = formats(report, reader_language, tmp_path)
        page_text = text_of(rendered["html"])
        document = json.loads(rendered["json"])
        rows = list(csv.DictReader(io.StringIO(rendered["csv"])))
        assert document["schema"] == "certmgr.report/1"
        assert (
            [s["target"] for s in document["sites"]]
            == [r["site"] for r in rows]
            == [s.target for s in report.sites]
        )
        assert [s["state"] for s in document["sites"]] == [r["state"] for r in rows]
        assert [r["days_left"] for r in rows] == [str(s.days_left) for s in report.sites]
        pdf_characters = re.sub(r"[\s-]", "", rendered["pdf"])
        for value in (
            report.summary,
            *(a.what for a in report.you_act),
            *(a.do for a in report.you_act),
            *(f for s in report.sites for f in s.facts),
            *report.why,
        ):
            assert " ".join(value.split()) in page_text, value
            assert value in json.dumps(document, ensure_ascii=False)
            assert re.sub(r"[\s-]", "", value) in pdf_characters, value
        for site, row in zip(report.sites, rows, strict=True):
            assert all(f in row["facts"] for f in site.facts)
        assert len(report.you_act) == 2


def test_shared_certificate_reveals_no_other_client(
    provider: ReportProvider, tmp_path: Path
) -> None:
    """Two clients share a certificate and a server, and one of them serves the other's names."""
    shared = server_context(provider.issuer.issue("alpha-one.test", "beta-two.test"))
    provider.client("A-17", "Alpha Florist", note="alpha note")
    provider.client("B-23", "Beta Hotel", note="beta note")
    with provider.database.write() as tx:
        contacts.add(
            tx, "A-17", {"name": "Anna Alpha", "role": "owner"}, ("email:anna@alpha-one.test",)
        )
        contacts.add(
            tx, "B-23", {"name": "Berta Beta", "role": "owner"}, ("email:berta@beta-two.test",)
        )
    provider.site("A-17", "alpha-one.test", shared)
    provider.site("A-17", "www.alpha-one.test", shared)
    private = Authority("Beta Hotel GmbH CA", organisation="Beta Hotel GmbH", clock=clock)
    provider.site(
        "A-17", "neu.alpha-one.test", server_context(private.issue("beta-two.test"), chain=())
    )
    provider.site(
        "A-17", "alt.alpha-one.test", server_context(self_signed("beta-two.test", clock=clock))
    )
    provider.site("B-23", "beta-two.test", shared)
    provider.site("B-23", "www.beta-two.test", shared)
    provider.scan()
    words = {"A-17": ("alpha", "anna"), "B-23": ("beta", "berta")}
    for number, other in (("A-17", "B-23"), ("B-23", "A-17")):
        report, reader_language = provider.report(number)
        assert any(a.code == "name-mismatch" for a in (*report.you_act, *report.escalated))
        for name, content in formats(report, reader_language, tmp_path).items():
            for word in (*words[other], other.lower()):
                assert word not in content.lower(), f"{name} of {number} has {word}"


def test_hostile_text_is_escaped_in_each_format(tmp_path: Path) -> None:
    report = build(hostile_input())
    rendered = html.render(report, language("en"))
    assert "<script" not in rendered
    assert "{{ 7*7 }}" in rendered, "a text is never a template"
    assert "49" not in re.findall(r"redirects (.*?) again", text_of(rendered))[0]
    rows = list(csv.reader(io.StringIO(tabular.to_csv(report))))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows[1:] for cell in row)
    assert json.loads(tabular.to_json(report))["client"].startswith("<script>")
    assert pdf.render(rendered, report, language("en")).startswith(b"%PDF")
