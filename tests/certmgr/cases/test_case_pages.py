"""The messages of a case: axe-core checks each page in Chromium at two widths and in two languages,
and the plain part has the same words.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from certmgr.cases import (
    agreement,
    incident,
    incident_selection,
    intake,
    new_case,
    signing_requests,
)
from certmgr.cases.states import CaseAction
from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.notices.run import run_of
from certmgr.x509.upload import VendorUpload
from inventory.certificates import parse
from inventory.models import Notice
from inventory.store import cases, purchase_changes
from inventory.vocabulary import IncidentKind
from notifiers.pipeline.message import Message
from tests.certmgr.cases.place import CaseEnvironment, issue, make_env, serve, vendor_upload
from tests.databases import open_sqlite
from tests.servers import chromium


@pytest.fixture(scope="module")
def messages(
    tmp_path_factory: pytest.TempPathFactory, root: Authority, issuer: Authority
) -> dict[str, Message]:
    """The messages by state and language, with long names and texts."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "root.pem").write_bytes(root.pem)
    trust = replace(Settings().trust, ca_files=(str(folder / "root.pem"),))
    database = open_sqlite(folder / "pages.db", "Bob")
    env = make_env(database, replace(Settings(), trust=trust), folder)
    env.staff()
    found: dict[str, Message] = {}
    for number, language in (("1001", "de"), ("1002", "en")):
        name = f"ein-ziemlich-langer-name-fuer-einen-laden-{number}.example.com"
        env.client(number, name, language=language)
        purchase = {
            "vendor": "Vendor <b>&amp;</b>",
            "number": f"N-{number}",
            "fee": "25",
            "currency": "EUR",
            "ends_at": env.now.replace(year=2027),
        }
        with env.database.write(env.now) as tx:
            purchase_changes.add(tx, number, purchase, [name])
        _run_case(env, issuer, number, name, found)
        _run_incident(env, issuer, number, name, found)
    env.database.close()
    return found


def _notify(env: CaseEnvironment, kind: str, found: dict[str, Message]) -> None:
    for draft, message in run_of(env.context).decide().drafts:
        found[f"{kind}-{draft.person.language}"] = message
    with env.database.write(env.now) as tx:
        tx.conn.execute(update(Notice).values(state="sent", sent_at=tx.at))
    env.pass_(hours=0.01)


def _run_case(
    env: CaseEnvironment, issuer: Authority, number: str, name: str, found: dict[str, Message]
) -> None:
    """Run a case from its CSR to its cancellation."""
    reference = new_case.open_case(
        env.service, number, [], new_case.CaseOptions(order=f"N-{number}")
    ).reference
    (pem,) = signing_requests.make_csr(env.service, reference)
    signing_requests.send_csr(env.service, reference)
    _notify(env, "waiting", found)
    wrong = parse(issuer.issue("elsewhere.example").der)
    intake.receive(env.service, reference, VendorUpload((wrong,), (), ("key-sent",)))
    _notify(env, "again", found)
    intake.receive(env.service, reference, vendor_upload(issue(issuer, pem, start=env.now)))
    _notify(env, "checked", found)
    agreement.approve(env.service, reference, "Ada", "telephone")
    agreement.agree_window(env.service, reference, "2026-11-26T10:00")
    _notify(env, "window", found)
    env.service.end(reference, CaseAction.CANCEL, "der Laden schließt <script>alert(1)</script>")
    _notify(env, "stopped", found)


def _run_incident(
    env: CaseEnvironment, issuer: Authority, number: str, name: str, found: dict[str, Message]
) -> None:
    """Run a case of an incident until it waits for the client."""
    begin, end = env.now - timedelta(days=1), env.now + timedelta(days=80)
    served = issuer.issue(name, not_before=begin, not_after=end)
    serve(env.database, name, served, env.now)
    items = incident_selection.select_affected(env.service, serials=[parse(served.der).serial])
    until = env.now + timedelta(hours=20)
    reason = "the CA found a fault <script>"
    incident.open_incident(env.service, items, IncidentKind.SERIALS, "one", until, reason)
    _notify(env, "incident", found)
    with env.database.read() as conn:
        rows = cases.listing(conn)
    (row,) = [r for r in rows if r.kind == "incident" and r.client == number]
    signing_requests.make_csr(env.service, row.reference)
    signing_requests.send_csr(env.service, row.reference)
    _notify(env, "incident-waiting", found)


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
def test_plain_part_has_the_same_words_as_the_page(messages: dict[str, Message], kind: str) -> None:
    message = messages[kind]
    body = re.sub(r"<[^>]+>", " ", message.html.split("<main", 1)[1])
    words = set(re.findall(r"[\wäöüß.-]{6,}", body))
    assert {w for w in words if w not in message.text and w != "max-width"} == set()
    assert "{" not in message.text
    if kind.startswith("incident"):
        assert re.search(r"\d\d:\d\d", message.text), "the hour of the deadline"
        assert "fault" not in message.text, "only the staff reads the reason"
    assert bool(message.calendar) == kind.startswith(("window", "stopped"))
