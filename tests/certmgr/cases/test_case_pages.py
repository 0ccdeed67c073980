"""The messages of a case: axe-core checks each page in Chromium at two widths and in two languages,
and the plain part has the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from certmgr.cases import incident, intake
from certmgr.cases.states import CaseAction
from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.notices.run import run_of
from certmgr.x509.upload import VendorUpload
from inventory.certificates import parse
from inventory.models.tables import notice
from inventory.store import cases, purchases
from notifiers.pipeline.compose import Message
from tests.certmgr.cases.place import Place, issue, material, serve
from tests.certmgr.cases.place import place as make
from tests.databases import open_sqlite
from tests.servers import chromium


@pytest.fixture(scope="module")
def messages(
    tmp_path_factory: pytest.TempPathFactory, root: Authority, issuer: Authority
) -> dict[str, Message]:
    """By state and language, with the long names and texts that a client can have."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "root.pem").write_bytes(root.pem)
    trust = replace(Settings().trust, ca_files=(str(folder / "root.pem"),))
    database = open_sqlite(folder / "pages.db", "Bob")
    place = make(database, replace(Settings(), trust=trust), folder)
    place.staff()
    found: dict[str, Message] = {}
    for number, language in (("1001", "de"), ("1002", "en")):
        name = f"ein-ziemlich-langer-name-fuer-einen-laden-{number}.example.com"
        place.client(number, name, language=language)
        order = {
            "vendor": "Vendor <b>&amp;</b>",
            "number": f"N-{number}",
            "fee": "25",
            "currency": "EUR",
            "ends_at": place.now.replace(year=2027),
        }
        with place.database.write(place.now) as tx:
            purchases.add(tx, number, order, [name])
        _work(place, issuer, number, name, found)
        _incident(place, issuer, number, name, found)
    place.database.close()
    return found


def _notify(place: Place, kind: str, found: dict[str, Message]) -> None:
    for draft, message in run_of(place.database, place.settings, place.now).decide().drafts:
        found[f"{kind}-{draft.person.language}"] = message
    with place.database.write(place.now) as tx:
        tx.conn.execute(update(notice).values(state="sent", sent_at=tx.at))
    place.pass_(hours=0.01)


def _work(
    place: Place, issuer: Authority, number: str, name: str, found: dict[str, Message]
) -> None:
    """A case from its CSR to its cancellation."""
    reference = place.desk.open(number, [], {"order": f"N-{number}"})["reference"]
    (pem,) = intake.make_csr(place.desk, reference)
    intake.send(place.desk, reference)
    _notify(place, "waiting", found)
    wrong = parse(issuer.issue("elsewhere.example").der)
    intake.receive(place.desk, reference, VendorUpload((wrong,), (), ("key-sent",)))
    _notify(place, "again", found)
    intake.receive(place.desk, reference, material(issue(issuer, pem, start=place.now)))
    _notify(place, "checked", found)
    place.desk.approve(reference, "Ada", "telephone")
    place.desk.agree(reference, "2026-11-26T10:00")
    _notify(place, "window", found)
    place.desk.end(reference, CaseAction.CANCEL, "der Laden schließt <script>alert(1)</script>")
    _notify(place, "stopped", found)


def _incident(
    place: Place, issuer: Authority, number: str, name: str, found: dict[str, Message]
) -> None:
    """A case of an incident, until it waits for the client."""
    begin, end = place.now - timedelta(days=1), place.now + timedelta(days=80)
    served = issuer.issue(name, not_before=begin, not_after=end)
    serve(place.database, name, served, place.now)
    items = incident.select(place.desk, serials=[parse(served.der).serial])
    until = place.now + timedelta(hours=20)
    reason = "the CA found a fault <script>"
    incident.open_(place.desk, items, "serials", "one", until, reason)
    _notify(place, "incident", found)
    with place.database.read() as conn:
        rows = cases.listing(conn)
    (row,) = [r for r in rows if r["kind"] == "incident" and r["client"] == number]
    intake.make_csr(place.desk, row["reference"])
    intake.send(place.desk, row["reference"])
    _notify(place, "incident-waiting", found)


STATES = (
    "waiting",
    "again",
    "checked",
    "window",
    "stopped",
    "incident",
    "incident-waiting",
)
KINDS = [f"{state}-{language}" for state in STATES for language in ("de", "en")]


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Browser]:
    with chromium.browser() as opened:
        yield opened


@pytest.mark.parametrize("kind", KINDS)
def test_page_has_no_violation_of_axe_and_fits_each_width(
    messages: dict[str, Message],
    browser: chromium.Browser,
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
) -> None:
    page = tmp_path_factory.mktemp("page") / "mail.html"
    page.write_text(messages[kind].html, encoding="utf-8")
    for width in (900, 360):
        browser.open(page, width=width)
        assert browser.violations() == []
        assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    assert "<script" not in messages[kind].html
    assert "<b>" not in messages[kind].html


@pytest.mark.parametrize("kind", KINDS)
def test_plain_part_has_the_words_of_the_page(messages: dict[str, Message], kind: str) -> None:
    message = messages[kind]
    body = re.sub(r"<[^>]+>", " ", message.html.split("<main", 1)[1])
    words = set(re.findall(r"[\wäöüß.-]{6,}", body))
    assert {w for w in words if w not in message.text and w != "max-width"} == set()
    assert "{" not in message.text
    if kind.startswith("incident"):
        assert re.search(r"\d\d:\d\d", message.text), "by what hour"
        assert "fault" not in message.text, "the reason is for the staff alone"
    assert bool(message.calendar) == kind.startswith(("window", "stopped"))
