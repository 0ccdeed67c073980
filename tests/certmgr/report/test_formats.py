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
from tests.certmgr.report.village import Village, hostile_input, pdf_text, text_of
from tests.clock import clock


def formats(report: ClientReport, spoken: Language, folder: Path) -> dict[str, str]:
    """Return the report in each format; the PDF as its text."""
    made = html.render(report, spoken)
    return {
        "html": made,
        "pdf": pdf_text(pdf.render(made, report, spoken), folder / "r.pdf"),
        "json": tabular.to_json(report),
        "csv": tabular.to_csv(report),
    }


def test_formats_contain_the_same_facts(village: Village, tmp_path: Path) -> None:
    village.client("1001", "Shop & Söhne", hosts="us", dns="client", buys="client", renews="client")
    now = clock()
    old = village.issuer.issue(
        "a.example.test", not_before=now - timedelta(days=60), not_after=now - timedelta(days=1)
    )
    village.site("1001", "a.example.test", server_context(old))
    village.site("1001", "b.example.test", server_context(village.issuer.issue("b.example.test")))
    village.site(
        "1001",
        "c.example.test",
        server_context(village.issuer.issue("c.example.test")),
        page("x", "<img src=http://x.test/a.png>"),
    )
    village.scan()
    for code in ("en", "de"):
        report, spoken = village.report("1001", chosen=code)
        made = formats(report, spoken, tmp_path)
        page_text = text_of(made["html"])
        document = json.loads(made["json"])
        rows = list(csv.DictReader(io.StringIO(made["csv"])))
        assert document["schema"] == "certmgr.report/1"
        assert (
            [s["target"] for s in document["sites"]]
            == [r["site"] for r in rows]
            == [s.target for s in report.sites]
        )
        assert [s["state"] for s in document["sites"]] == [r["state"] for r in rows]
        assert [r["days_left"] for r in rows] == [str(s.days_left) for s in report.sites]
        squeezed = re.sub(r"[\s-]", "", made["pdf"])
        for value in (
            report.summary,
            *(a.what for a in report.you_act),
            *(a.do for a in report.you_act),
            *(f for s in report.sites for f in s.facts),
            *report.why,
        ):
            assert " ".join(value.split()) in page_text, value
            assert value in json.dumps(document, ensure_ascii=False)
            assert re.sub(r"[\s-]", "", value) in squeezed, value
        for site, row in zip(report.sites, rows, strict=True):
            assert all(f in row["facts"] for f in site.facts)
        assert len(report.you_act) == 2


def test_shared_certificate_reveals_no_other_client(village: Village, tmp_path: Path) -> None:
    """Two clients share a certificate and a server, and one of them serves the other's names."""
    shared = server_context(village.issuer.issue("alpha-one.test", "beta-two.test"))
    village.client("A-17", "Alpha Florist", note="alpha note")
    village.client("B-23", "Beta Hotel", note="beta note")
    with village.database.write() as tx:
        contacts.add(
            tx, "A-17", {"name": "Anna Alpha", "role": "owner"}, ("email:anna@alpha-one.test",)
        )
        contacts.add(
            tx, "B-23", {"name": "Berta Beta", "role": "owner"}, ("email:berta@beta-two.test",)
        )
    village.site("A-17", "alpha-one.test", shared)
    village.site("A-17", "www.alpha-one.test", shared)
    private = Authority("Beta Hotel GmbH CA", organisation="Beta Hotel GmbH", clock=clock)
    village.site(
        "A-17", "neu.alpha-one.test", server_context(private.issue("beta-two.test"), chain=())
    )
    village.site(
        "A-17", "alt.alpha-one.test", server_context(self_signed("beta-two.test", clock=clock))
    )
    village.site("B-23", "beta-two.test", shared)
    village.site("B-23", "www.beta-two.test", shared)
    village.scan()
    words = {"A-17": ("alpha", "anna"), "B-23": ("beta", "berta")}
    for number, other in (("A-17", "B-23"), ("B-23", "A-17")):
        report, spoken = village.report(number)
        assert any(a.code == "name-mismatch" for a in (*report.you_act, *report.escalated))
        for form, content in formats(report, spoken, tmp_path).items():
            for word in (*words[other], other.lower()):
                assert word not in content.lower(), f"{form} of {number} has {word}"


def test_hostile_text_is_escaped_in_each_format(tmp_path: Path) -> None:
    report = build(hostile_input())
    made = html.render(report, language("en"))
    assert "<script" not in made
    assert "{{ 7*7 }}" in made, "a text is never a template"
    assert "49" not in re.findall(r"redirects (.*?) again", text_of(made))[0]
    rows = list(csv.reader(io.StringIO(tabular.to_csv(report))))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows[1:] for cell in row)
    assert json.loads(tabular.to_json(report))["client"].startswith("<script>")
    assert pdf.render(made, report, language("en")).startswith(b"%PDF")
