"""The client's report: formats that agree, no other client's data, pages that pass axe, PDF, and reproduction of the past."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from certmgr.compliance.milestones import Deadline
from certmgr.compliance.rules import RULES
from certmgr.compliance.standing import all_deadlines, judge
from certmgr.config import HttpSettings, Settings
from certmgr.demo.authority import Authority, self_signed
from certmgr.demo.pages import Answer, page, plain, redirect, secure
from certmgr.demo.servers import Server, server_context
from certmgr.files import write_whole
from certmgr.report import html, pdf, tabular, write
from certmgr.report.load import material
from certmgr.report.model import Report
from certmgr.report.view import Material, build
from certmgr.status import Standing
from certmgr.survey import Options, Survey
from inventory.database import Database
from inventory.errors import CertmgrError
from inventory.model import Finding, Verdict
from inventory.store import clients, contacts, deadlines, domains, endpoints, findings
from inventory.targets import Target
from notifiers.wording.catalogue import Language, language
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran
from tests.servers import chromium

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
Run = Callable[..., Ran]


class Village:
    """Clients with sites on loopback, scanned."""

    def __init__(self, settings: Settings, issuer: Authority, folder: Path, stack: contextlib.ExitStack) -> None:
        self.issuer, self.folder, self.stack = issuer, folder, stack
        self.plain: dict[str, Answer] = {}
        self.ports: dict[str, int] = {}
        http = Server(plain(lambda host, path: self.plain.get(host) or redirect(f"https://{host}:{self.ports.get(host, 1)}/")))
        stack.callback(http.close)
        self.settings = replace(settings, http=HttpSettings(port=http.port, per_address=0, rate=0.0))
        self.database = open_sqlite(folder / "village.db")

    def client(self, number: str, name: str, **fields: Any) -> None:
        with self.database.write() as tx:
            clients.add(tx, {"number": number, "name": name, "account_manager": f"Manager of {name}"} | fields)

    def site(self, client: str, host: str, context: Any, answer: Answer | None = None) -> None:
        server = Server(secure(context, lambda h, p: answer or page("Welcome")))
        self.stack.callback(server.close)
        self.ports[host] = server.port
        with self.database.write() as tx:
            domains.add(tx, host, {"client": client})
            endpoints.edit(tx, Target(host), {"port": server.port, "addresses": ["127.0.0.1"]})

    def scan(self) -> None:
        Survey(self.database, self.settings, Options()).run()

    def report(self, number: str, as_of: datetime | None = None, chosen: str | None = None) -> tuple[Report, Language]:
        now = clock()
        past = as_of if as_of is not None and as_of <= now else None
        read = material(
            self.database, number, now, as_of=as_of, provider="Example Hosting", dues=all_deadlines(self.database, past), default_language="en",
            default_zone="UTC", chosen=chosen,
        )  # fmt: skip
        return build(read), read.language


@pytest.fixture
def village(settings: Settings, issuer: Authority, tmp_path: Path, opened: contextlib.ExitStack) -> Village:
    return Village(settings, issuer, tmp_path, opened)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.skip = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.skip = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self.skip:
            self.parts.append(data)


def text_of(page_html: str) -> str:
    parser = _Text()
    parser.feed(page_html)
    return " ".join(" ".join(parser.parts).split())


def pdf_text(data: bytes, path: Path) -> str:
    path.write_bytes(data)
    return " ".join(subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True).stdout.split())


def formats(report: Report, spoken: Language, folder: Path) -> dict[str, str]:
    made = html.render(report, spoken)
    return {
        "html": made, "pdf": pdf_text(pdf.render(made, report, spoken), folder / "r.pdf"), "json": tabular.to_json(report), "csv": tabular.to_csv(report),
    }  # fmt: skip


# -- what it says --------------------------------------------------------------------------------------------------------


def test_a_good_client_need_do_nothing(village: Village) -> None:
    village.client("1001", "Good")
    village.site("1001", "good.example.test", server_context(village.issuer.issue("good.example.test")))
    village.scan()
    report, _ = village.report("1001")
    assert report.summary == "Your sites comply with HTTPS today, and you need do nothing."
    assert (report.state, report.counts["ok"]) == ("ok", 1)
    assert report.you_act == report.we_act == report.escalated == ()
    assert [e.kind for e in report.events if e.kind == "certificate"] == ["certificate"]


def test_what_the_client_must_do_comes_with_a_date(village: Village) -> None:
    now = clock()
    village.client("1001", "Buyer", hosts="us", dns="client", buys="client", renews="client")
    context = server_context(village.issuer.issue("shop.example.test", not_before=now - timedelta(days=85), days=5))
    village.site("1001", "shop.example.test", context)
    village.scan()
    report, _ = village.report("1001")
    (action,) = report.you_act
    assert (action.code, action.outcome) == ("certificate-expiring", "you-act")
    assert action.by is not None
    assert "ask us for the CSR" in action.do
    assert report.summary.startswith("1 site needs you by")


def test_ours_is_fixed_only_when_somebody_has_taken_it(village: Village) -> None:
    village.client("1001", "Cared", hosts="us", dns="us", buys="us", renews="us")
    village.site("1001", "login.example.test", server_context(village.issuer.issue("login.example.test")))
    village.plain["login.example.test"] = page("Login", "<input type=password>", hsts=False)
    village.scan()
    report, _ = village.report("1001")
    assert [a.code for a in report.escalated] == ["http-collects-secrets"]
    assert "level 2" in report.escalated[0].do
    with village.database.write() as tx:
        row = clients.find(tx.conn, "1001")
        until = clock() + timedelta(days=2)
        findings.accept(
            tx,
            "http-collects-secrets",
            frozenset({"http-collects-secrets"}),
            until,
            "redirect",
            client_id=row["id"],
            kind="take",
            by="Ines",
        )
    report, _ = village.report("1001")
    assert [a.person for a in report.we_act] == ["Ines"]
    assert report.escalated == ()
    assert "you need do nothing" in report.summary.lower()
    assert "January 2017" in report.why[1], "why HTTPS matters for this site"


def test_could_not_tell_is_never_good(village: Village) -> None:
    village.client("1001", "Silent")
    village.site("1001", "guarded.example.test", server_context(village.issuer.issue("guarded.example.test")), Answer(403))
    village.scan()
    report, _ = village.report("1001")
    assert report.state == "unknown"
    assert report.sites[0].state == "unknown"
    assert report.untested
    (village.folder / "n").mkdir()
    never = Village(village.settings, village.issuer, village.folder / "n", village.stack)
    never.client("1", "Never")
    never.site("1", "never.example.test", server_context(village.issuer.issue("never.example.test")))
    report, _ = never.report("1")
    assert (report.state, report.sites[0].untested) == ("unknown", ("never.example.test was not looked at yet.",))


def test_dates_ahead_with_steps(village: Village) -> None:
    village.client("1001", "Late", hosts="us", buys="client")
    village.site("1001", "plain.example.test", server_context(village.issuer.issue("plain.example.test")))
    village.plain["plain.example.test"] = page("Welcome", hsts=False)
    with village.database.write() as tx:
        due = {"at": clock() + timedelta(days=10), "rule": "https-only", "title": "All on HTTPS", "text": "In our own words",
               "purchase_days": 7, "validation_days": 7, "installation_days": 30}  # fmt: skip
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["1001"], tags=[])
    village.scan()
    report, _ = village.report("1001")
    (event,) = [e for e in report.events if e.kind == "own"]
    assert (event.title, event.note, event.affected) == ("All on HTTPS", "In our own words", ("plain.example.test",))
    assert "late" in event.steps[0]


def test_another_clients_deadline_is_not_shown(village: Village) -> None:
    for number in ("1", "2"):
        village.client(number, f"Client {number}")
        village.site(number, f"c{number}.example.test", server_context(village.issuer.issue(f"c{number}.example.test")))
    with village.database.write() as tx:
        due = {"at": clock() + timedelta(days=10), "rule": "https-only", "title": "Private arrangement", "purchase_days": 1, "validation_days": 1,
               "installation_days": 1}  # fmt: skip
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["2"], tags=[])
    village.scan()
    assert "Private arrangement" in tabular.to_json(village.report("2")[0])
    assert "Private arrangement" not in tabular.to_json(village.report("1")[0])


# -- formats that agree, and nobody else's data ---------------------------------------------------------------------------


def test_all_formats_tell_the_same(village: Village, tmp_path: Path) -> None:
    village.client("1001", "Shop & Söhne", hosts="us", dns="client", buys="client", renews="client")
    now = clock()
    old = village.issuer.issue("a.example.test", not_before=now - timedelta(days=60), not_after=now - timedelta(days=1))
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
        assert [s["target"] for s in document["sites"]] == [r["site"] for r in rows] == [s.target for s in report.sites]
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


def test_no_other_clients_data_with_a_shared_certificate(village: Village, tmp_path: Path) -> None:
    """One certificate and one server for two clients, and one of them has the wrong name on top."""
    shared = server_context(village.issuer.issue("alpha-one.test", "beta-two.test"))
    village.client("A-17", "Alpha Florist", note="alpha note")
    village.client("B-23", "Beta Hotel", note="beta note")
    with village.database.write() as tx:
        contacts.add(tx, "A-17", {"name": "Anna Alpha", "role": "owner"}, ("email:anna@alpha-one.test",))
        contacts.add(tx, "B-23", {"name": "Berta Beta", "role": "owner"}, ("email:berta@beta-two.test",))
    village.site("A-17", "alpha-one.test", shared)
    village.site("A-17", "www.alpha-one.test", shared)
    private = Authority("Beta Hotel GmbH CA", organisation="Beta Hotel GmbH", clock=clock)
    village.site("A-17", "neu.alpha-one.test", server_context(private.issue("beta-two.test"), chain=()))
    village.site("A-17", "alt.alpha-one.test", server_context(self_signed("beta-two.test", clock=clock)))
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


# -- hostile texts -----------------------------------------------------------------------------------------------------------


def hostile_material(**changes: Any) -> Material:
    evil = "<script>alert(1)</script>{{ 7*7 }}{% for x in y %}\x1b[31m\u202e=cmd()"
    finding = Finding(
        "redirect-loop", "high", ("192.0.2.1",), {"url": f"http://x/{evil}", "why": evil, "path": [evil]}, "client", "you-act"
    )
    standing = Standing(1, Target("shop.example.test"), "1001", 1, None, None, None, evil, 1, 1, evil, Verdict.FAULT, [finding])
    values: dict[str, Any] = {
        "number": evil, "name": evil, "provider": evil, "contact": evil, "language": language("en"), "as_of": NOW, "subjects": [], "standings": [standing],
        "rows": [], "deadlines": [Deadline("x", NOW + timedelta(days=5), evil, affects=evil, text=evil)], "taken": [], "vantage": evil, "measured": NOW,
    }  # fmt: skip
    return Material(**values | changes)


def test_texts_are_escaped_in_every_format(tmp_path: Path) -> None:
    report = build(hostile_material())
    made = html.render(report, language("en"))
    assert "<script" not in made
    assert "{{ 7*7 }}" in made, "a text is never a template"
    assert "49" not in re.findall(r"redirects (.*?) again", text_of(made))[0]
    rows = list(csv.reader(io.StringIO(tabular.to_csv(report))))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows[1:] for cell in row)
    assert json.loads(tabular.to_json(report))["client"].startswith("<script>")
    assert pdf.render(made, report, language("en")).startswith(b"%PDF")


def test_the_page_is_one_file_without_script_or_anything_remote() -> None:
    made = html.render(build(hostile_material()), language("en"))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', made)
    assert policy is not None
    assert policy.group(1).startswith("default-src &#39;none&#39;; style-src &#39;sha256-") or policy.group(1).startswith(
        "default-src 'none'; style-src 'sha256-"
    )
    for needle in ("<script", "<img", "<iframe", "<link", "@import", "url(", "javascript:", " style="):
        assert needle not in made
    assert not re.findall(r'(?:src|href)="http', made)


def test_pdf_refuses_to_fetch(tmp_path: Path) -> None:
    """Whatever stands in the page: nothing is loaded."""
    asked: list[str] = []
    server = Server(plain(lambda host, path: asked.append(path) or Answer(200, "x")))  # type: ignore[func-returns-value]
    try:
        made = html.render(build(hostile_material()), language("en")).replace(
            "<main>", f'<main><img src="http://127.0.0.1:{server.port}/a.png" alt="">'
        )
        assert pdf.render(made, build(hostile_material()), language("en")).startswith(b"%PDF")
    finally:
        server.close()
    assert asked == []


# -- accessibility, in Chromium ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Browser]:
    with chromium.browser() as opened:
        yield opened


def states(village: Village) -> dict[str, tuple[Report, Language]]:
    """A report in every state: good, client acts, we act and level 2, unknown, without a site, in German."""
    now = clock()
    issue = village.issuer.issue
    village.client("good", "Good")
    village.site("good", "good.example.test", server_context(issue("good.example.test")))
    village.client("act", "Acts", hosts="us", dns="client", buys="client", renews="client")
    village.site(
        "act",
        "old.example.test",
        server_context(issue("old.example.test", not_before=now - timedelta(days=60), not_after=now - timedelta(days=1))),
    )
    village.site(
        "act",
        "xn--grten-gra.example.test",
        server_context(issue("xn--grten-gra.example.test", not_before=now - timedelta(days=85), days=5)),
    )
    village.client("ours", "Ours", hosts="us", dns="us", buys="us", renews="us")
    village.site("ours", "login.example.test", server_context(issue("login.example.test")))
    village.plain["login.example.test"] = page("Login", "<input type=password>", hsts=False)
    village.site("ours", "mixed.example.test", server_context(issue("other.test")))
    village.client("unknown", "Unknown")
    village.site("unknown", "guarded.example.test", server_context(issue("guarded.example.test")), Answer(403))
    with village.database.write() as tx:
        due = {"at": now + timedelta(days=60), "rule": "https-only", "title": "All on HTTPS", "text": "Order in time", "purchase_days": 7, "validation_days": 7,
               "installation_days": 7}  # fmt: skip
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=[], tags=[])
        row = clients.find(tx.conn, "ours")
        findings.accept(
            tx,
            "http-collects-secrets",
            frozenset({"http-collects-secrets"}),
            now + timedelta(days=3),
            "x",
            client_id=row["id"],
            kind="take",
            by="Ines",
        )
    village.client("none", "Nobody")
    village.scan()
    made = {number: village.report(number) for number in ("good", "act", "ours", "unknown", "none")}
    made["act-de"] = village.report("act", chosen="de")
    return made


def test_axe_finds_nothing_in_any_state(village: Village, browser: chromium.Browser, tmp_path: Path) -> None:
    made = states(village)
    assert {r.state for r, _ in made.values()} >= {"ok", "fault", "attention", "unknown"}
    for name, (report, spoken) in made.items():
        path = tmp_path / f"{name}.html"
        path.write_text(html.render(report, spoken), encoding="utf-8")
        for options in ({}, {"dark": True}, {"width": 360}, {"width": 360, "dark": True}, {"media": "print"}):
            browser.open(path, **options)
            assert browser.violations() == [], (name, options)
            assert [u for u in browser.requests if not u.startswith("file:")] == []
            if options.get("width") == 360:
                assert browser.evaluate("document.documentElement.scrollWidth") <= 360, "narrow screens do not scroll sideways"


def test_the_index_passes_axe(village: Village, browser: chromium.Browser, tmp_path: Path, certmgr: Run) -> None:
    states(village)
    done = certmgr("--database", str(tmp_path / "village.db"), "report", "--all", "--output", str(tmp_path / "out"))
    assert done.code == 0, done.err
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["client-act.html", "client-good.html", "client-ours.html", "client-unknown.html", "index.html"]
    for options in ({}, {"dark": True}, {"width": 360}):
        browser.open(tmp_path / "out" / "index.html", **options)
        assert browser.violations() == []
    links = browser.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    assert sorted(links) == names[:-1]


def test_the_policy_lets_the_style_in(village: Village, browser: chromium.Browser, tmp_path: Path) -> None:
    """With the policy in force the page still has its style: the hash is right."""
    village.client("1", "One")
    village.site("1", "one.example.test", server_context(village.issuer.issue("one.example.test")))
    village.scan()
    path = tmp_path / "one.html"
    path.write_text(html.render(*village.report("1")), encoding="utf-8")
    browser.open(path, scripts=False)
    assert browser.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "832px"


def test_pdf_is_tagged_with_page_numbers_and_whole_rows(village: Village, tmp_path: Path) -> None:
    village.client("1", "Many")
    context = server_context(village.issuer.issue(*[f"s{i}.example.test" for i in range(40)]))
    for i in range(40):
        village.site("1", f"s{i}.example.test", context)
    village.scan()
    report, spoken = village.report("1", chosen="de")
    path = tmp_path / "many.pdf"
    path.write_bytes(pdf.render(html.render(report, spoken), report, spoken))
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


# -- the past, and the command line ----------------------------------------------------------------------------------------------


def test_a_report_of_the_past_is_what_was_known_then(village: Village) -> None:
    village.client("1001", "Then")
    host = "then.example.test"
    village.site("1001", host, server_context(village.issuer.issue(host)))
    village.plain[host] = page("Login", "<input type=password>", hsts=False)
    village.scan()
    then = clock()
    before, _ = village.report("1001", then)
    clock.advance(seconds=2)
    del village.plain[host]
    village.scan()
    after, _ = village.report("1001")
    assert after.state == "ok"
    again, _ = village.report("1001", then)

    def told(report: Report) -> Any:
        """Everything but the second of the look: a span says that the same was served, not when it was looked at."""
        sites = tuple(replace(site, measured=None, measured_text="") for site in report.sites)
        return replace(report, sites=sites, method=report.method[1:])

    assert told(again) == told(before)
    assert [a.code for a in again.escalated] == ["http-collects-secrets"]


def test_the_command_line(village: Village, certmgr: Run, tmp_path: Path) -> None:
    village.client("1001", "One")
    village.site("1001", "one.example.test", server_context(village.issuer.issue("one.example.test")))
    village.scan()
    base = ("--database", str(tmp_path / "village.db"), "report")
    for form in ("html", "pdf", "csv", "json"):
        done = certmgr(*base, "--client", "1001", "--format", form, "--output", str(tmp_path / f"r.{form}"))
        assert done.code == 0, done.err
        assert (tmp_path / f"r.{form}").stat().st_size > 100
        assert (tmp_path / f"r.{form}").stat().st_mode & 0o777 == 0o600
    assert certmgr(*base, "--client", "1001", "--format", "json").json["schema"] == "certmgr.report/1"
    assert certmgr(*base, "--client", "1001", "--language", "de").out.count('<html lang="de">') == 1


@pytest.mark.parametrize(("arguments", "code", "said"), [
    ((), 2, "whom the report is for"), (("--client", "4711"), 2, "no client"), (("--client", "1", "--all"), 2, "whom the report is for"), (("--all",), 2, "--output is missing"),
    (("--client", "1", "--format", "pdf"), 2, "--output is missing"), (("--client", "1", "--as-of", "30.6."), 2, "is not a date"),
    (("--client", "1", "--language", "tlh"), 2, "no language"), (("--client", "1", "--output", "/nowhere/at/all.html"), 3, "cannot be written"),
    (("--all", "--output", "/proc/nowhere"), 3, "cannot be made"),
])  # fmt: skip
def test_wrong_calls_are_one_clear_line(certmgr: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    certmgr("client", "add", "1", "One")
    done = certmgr("report", *arguments)
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_file_names_never_come_from_a_clients_words() -> None:
    assert write.file_name("1001", "html") == "client-1001.html"
    for number in ("../../etc/passwd", "a/b", "..", "ö", ".hidden", "a b"):
        name = write.file_name(number, "html")
        assert re.fullmatch(r"client-[A-Za-z0-9_-]+\.html", name)
    assert write.file_name("a/b", "html") != write.file_name("ab", "html")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    target.write_text("old")
    folder = tmp_path / "r"
    folder.mkdir()
    with pytest.raises(CertmgrError):
        write_whole(folder / "missing" / "x.html", b"new")
    assert target.read_text() == "old"
    write_whole(target, b"new")
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".certmgr")] == []


def test_every_query_is_scoped(village: Village) -> None:
    """What is loaded for one client holds nothing of another."""
    for number in ("1", "2"):
        village.client(number, f"Client {number}")
        village.site(number, f"c{number}.example.test", server_context(village.issuer.issue(f"c{number}.example.test")))
    village.scan()
    database: Database = village.database
    read = material(
        database, "1", clock(), as_of=None, provider="", dues=all_deadlines(database), default_language="en", default_zone="UTC",
    )  # fmt: skip
    assert {s.name for s in read.subjects} == {"c1.example.test"}
    assert {s.target.host for s in read.standings} == {"c1.example.test"}
    assert {r.subject.client for r in judge(read.subjects, read.deadlines, read.as_of)} == {"1"}


def test_reports_on_both_databases(
    database: Database, settings: Settings, issuer: Authority, opened: contextlib.ExitStack, tmp_path: Path
) -> None:
    server = Server(secure(server_context(issuer.issue("one.example.test")), lambda h, p: page("Welcome")))
    opened.callback(server.close)
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
        domains.add(tx, "one.example.test", {"client": "1"})
        endpoints.edit(tx, Target("one.example.test"), {"port": server.port, "addresses": ["127.0.0.1"]})
        due = {
            "at": clock() + timedelta(days=10),
            "rule": "https-only",
            "title": "x",
            "purchase_days": 1,
            "validation_days": 1,
            "installation_days": 1,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["1"], tags=[])
    Survey(database, settings, Options(always_http=True)).run()
    now = clock()
    read = material(
        database, "1", now, as_of=None, provider="", dues=all_deadlines(database), default_language="en", default_zone="UTC"
    )
    assert build(read).counts["sites"] == 1
    past = material(
        database, "1", now, as_of=now, provider="", dues=all_deadlines(database, now), default_language="en", default_zone="UTC"
    )
    assert [s.state for s in build(past).sites] == [s.state for s in build(read).sites]


def test_pages_that_were_not_opened_are_not_called_good(village: Village) -> None:
    village.client("1", "One")
    village.site("1", "one.example.test", server_context(village.issuer.issue("one.example.test")))
    village.plain["one.example.test"] = page("Login", "<input type=password>", hsts=False)
    Survey(village.database, village.settings, Options(http=False)).run()
    report, _ = village.report("1")
    assert report.state == "unknown"
    assert report.untested == ("one.example.test: Its pages were not opened yet.",)
    assert not any("in order" in f for s in report.sites for f in s.facts)
    assert "were not opened" in report.method[1]


def test_an_accepted_fault_is_not_called_good(village: Village) -> None:
    village.client("1", "One")
    village.site("1", "one.example.test", server_context(village.issuer.issue("other.example.test")))
    village.scan()
    with village.database.write() as tx:
        row = clients.find(tx.conn, "1")
        for code in ("name-mismatch", "default-certificate"):
            findings.accept(tx, code, frozenset({code}), clock() + timedelta(days=9), "moves", client_id=row["id"])
    report, _ = village.report("1")
    assert report.state != "ok"
    assert "comply with HTTPS today" not in report.summary


def test_a_day_that_the_provider_set_is_the_same_day_for_every_reader(village: Village) -> None:
    village.client("1", "One")
    village.site("1", "one.example.test", server_context(village.issuer.issue("one.example.test")))
    village.plain["one.example.test"] = page("x", hsts=False)
    with village.database.write() as tx:
        contacts.add(tx, "1", {"name": "Ada", "role": "owner", "time_zone": "Pacific/Auckland"}, ())
        due = {"at": datetime(2027, 6, 30, 23, 59, 59, tzinfo=UTC), "rule": "https-only", "title": "Own", "purchase_days": 7, "validation_days": 7,
               "installation_days": 7}  # fmt: skip
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=[], tags=[])
    village.scan()
    report, _ = village.report("1")
    days = {e.title: e.at_text for e in report.events}
    assert days["Own"] == "30 June 2027"
    assert days["New certificates live at most 100 days"] == "15 March 2027"


def test_a_deadline_stays_with_its_client_when_numbers_change(village: Village) -> None:
    village.client("1", "First")
    village.site("1", "one.example.test", server_context(village.issuer.issue("one.example.test")))
    with village.database.write() as tx:
        due = {
            "at": clock() + timedelta(days=10),
            "rule": "https-only",
            "title": "Private",
            "purchase_days": 1,
            "validation_days": 1,
            "installation_days": 1,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["1"], tags=[])
        clients.edit(tx, "1", {"number": "77"})
    village.client("1", "Second")
    village.site("1", "two.example.test", server_context(village.issuer.issue("two.example.test")))
    village.scan()
    assert "Private" in tabular.to_json(village.report("77")[0])
    assert "Private" not in tabular.to_json(village.report("1")[0])


def test_output_through_a_link_and_into_a_pipe(tmp_path: Path) -> None:
    import os
    import threading

    target = tmp_path / "real.html"
    target.write_text("old")
    (tmp_path / "link.html").symlink_to(target)
    write_whole(tmp_path / "link.html", b"new")
    assert target.read_text() == "new"
    assert (tmp_path / "link.html").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_whole(tmp_path / "pipe", b"through")
    reader.join(5)
    assert got == [b"through"]
