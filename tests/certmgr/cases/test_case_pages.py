"""The pages of a case's messages: axe-core in Chromium at two widths, in two languages; and the plain part beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from certmgr.cases import incident, intake
from certmgr.cases.material import Material
from certmgr.cases.states import Action
from certmgr.config import Settings
from certmgr.demo.authority import Authority
from certmgr.notices.wiring import run_of
from inventory.certificates import parse
from inventory.store import cases, orders
from inventory.tables import notice
from notifiers.compose import Message
from tests.certmgr.cases.place import Place, issue, serve
from tests.certmgr.cases.place import place as make
from tests.certmgr.cases.test_desk import _der
from tests.databases import open_sqlite
from tests.servers import chromium


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory, root: Authority, issuer: Authority) -> dict[str, Message]:
    """By state and language; the long names and texts that a client can have."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "root.pem").write_bytes(root.pem)
    settings = replace(Settings(), trust=replace(Settings().trust, ca_files=(str(folder / "root.pem"),)))
    place = make(open_sqlite(folder / "pages.db", "Bob"), settings, folder)
    place.staff()
    found: dict[str, Message] = {}
    for number, language in (("1001", "de"), ("1002", "en")):
        name = f"ein-ziemlich-langer-name-fuer-einen-laden-{number}.example.com"
        place.client(number, name, language=language)
        with place.database.write(place.now) as tx:
            orders.add(
                tx,
                number,
                {
                    "vendor": "Vendor <b>&amp;</b>",
                    "number": "N-1",
                    "fee": "25",
                    "currency": "EUR",
                    "ends_at": place.now.replace(year=2027),
                },
                [name],
            )
        _lead(place, issuer, number, language, found)
    place.database.close()
    return found


def _tell(place: Place, kind: str, found: dict[str, Message]) -> None:
    for draft, message in run_of(place.database, place.settings, place.now).decide().drafts:
        found[f"{kind}-{draft.person.language}"] = message
    with place.database.write(place.now) as tx:
        tx.conn.execute(update(notice).values(state="sent", sent_at=tx.at))
    place.pass_(hours=0.01)


def _lead(place: Place, issuer: Authority, number: str, language: str, found: dict[str, Message]) -> None:
    reference = place.desk.open(number, [], {"order": "#1" if number == "1001" else "#2"})["reference"]
    (pem,) = intake.make_csr(place.desk, reference)
    intake.send(place.desk, reference)
    _tell(place, "waiting", found)
    wrong = issuer.issue("elsewhere.example")
    intake.receive(place.desk, reference, Material((parse(wrong.der),), (), ("key-sent",)))
    _tell(place, "again", found)
    issued = issue(issuer, pem, start=place.now)
    intake.receive(place.desk, reference, Material(tuple(parse(c.public_bytes(_der())) for c in issued.chain)))
    _tell(place, "checked", found)
    place.desk.approve(reference, "Ada", "telephone")
    place.desk.agree(reference, "2026-11-26T10:00")
    _tell(place, "window", found)
    place.desk.end(reference, Action.CANCEL, "der Laden schließt <script>alert(1)</script>")
    _tell(place, "stopped", found)
    served = issuer.issue(
        f"ein-ziemlich-langer-name-fuer-einen-laden-{number}.example.com",
        not_before=place.now - timedelta(days=1),
        not_after=place.now + timedelta(days=80),
    )
    serve(place.database, f"ein-ziemlich-langer-name-fuer-einen-laden-{number}.example.com", served, place.now)
    incident.open_(
        place.desk,
        incident.select(place.desk, serials=[parse(served.der).serial]),
        "serials",
        "one",
        place.now + timedelta(hours=20),
        "the CA found a fault <script>",
    )
    _tell(place, "incident", found)
    with place.database.read() as conn:
        (row,) = [r for r in cases.listing(conn) if r["kind"] == "incident" and r["client"] == number]
    intake.make_csr(place.desk, row["reference"])
    intake.send(place.desk, row["reference"])
    _tell(place, "incident-waiting", found)


KINDS = [
    f"{k}-{lang}"
    for k in ("waiting", "again", "checked", "window", "stopped", "incident", "incident-waiting")
    for lang in ("de", "en")
]


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Browser]:
    with chromium.browser() as opened:
        yield opened


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_and_nothing_sticks_out(
    messages: dict[str, Message], browser: chromium.Browser, tmp_path: Path, kind: str
) -> None:
    page = tmp_path / "mail.html"
    page.write_text(messages[kind].html, encoding="utf-8")
    for width in (900, 360):
        browser.open(page, width=width)
        assert browser.violations() == []
        assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    assert "<script" not in messages[kind].html
    assert "<b>" not in messages[kind].html


@pytest.mark.parametrize("kind", KINDS)
def test_both_parts_say_the_same(messages: dict[str, Message], kind: str) -> None:
    message = messages[kind]
    words = set(re.findall(r"[\wäöüß.-]{6,}", re.sub(r"<[^>]+>", " ", message.html.split("<main", 1)[1])))
    assert {w for w in words if w not in message.text and w != "max-width"} == set()
    assert "{" not in message.text
    if kind.startswith("incident"):
        assert re.search(r"\d\d:\d\d", message.text), "by what hour"
        assert "fault" not in message.text, "what the reason was is for us"
    assert bool(message.calendar) == kind.startswith(("window", "stopped"))
