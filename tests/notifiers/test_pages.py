"""The HTML of every kind of message: axe-core in Chromium, nothing loaded from outside, no scripts; and the same facts in the plain part."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from inventory.store import contacts, findings
from notifiers.compose import Bulletin, Message, bulletin_message
from notifiers.outcome import name_of
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, START, Street, fault
from tests.servers import chromium


@dataclass
class Post:
    messages: dict[str, Message]


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Post:
    """One message of each outcome, German and English; a digest, an alarm, a bulletin."""
    return Post(_messages(_street(tmp_path_factory)))


def _street(factory: pytest.TempPathFactory) -> Street:
    street = Street(open_sqlite(factory.mktemp("post") / "street.db"))
    street.staff()
    for number, language in (("1", "de"), ("2", "en"), ("3", "de"), ("4", "en")):
        street.client(number, account_manager="Grace Hopper")
        with street.database.write(street.now) as tx:
            contacts.edit(tx, f"Owner of {number}", {"language": language, "time_zone": "Europe/Berlin"})
    street.site("www.müller-und-söhne.example".encode("idna").decode(), "1").serve(START - 389.5 * DAY, 398 * DAY)
    for host, number in (("shop.example", "1"), ("late.example", "2"), ("ours.example", "3"), ("nobody.example", "4")):
        street.site(host, number)
    return street


def _messages(street: Street) -> dict[str, Message]:
    street.baseline()
    sites = street.sites
    sites["shop.example"].faults["mixed-content"] = fault(
        "mixed-content",
        "medium",
        url="https://shop.example/",
        example="http://x.example/a.js",
        urls=["http://x.example/a.js", "http://x.example/b.css"],
    )
    sites["late.example"].serve(START - 400 * DAY, 398 * DAY)
    sites["ours.example"].faults["not-tls"] = fault("not-tls", "critical", "provider", reason="it answers in plain HTTP")
    sites["nobody.example"].faults["not-tls"] = fault("not-tls", "critical", "staff", reason="it answers in plain HTTP")
    first = street.day()
    with street.database.write(street.now) as tx:
        findings.accept(
            tx,
            "not-tls",
            frozenset({"not-tls"}),
            street.now + 2 * DAY,
            "on it",
            domain_id=sites["ours.example"].domain_id,
            kind="take",
            by="Ada Lovelace",
        )
    street.sent()
    second = street.day()
    street.sent()
    sites["late.example"].serve(street.now, 398 * DAY)
    third = street.day()
    found: dict[str, Message] = {}
    for outcome in (first, second, third):
        for draft, message in outcome.drafts:
            found[f"{name_of(draft.outcome)}-{draft.person.language}"] = message
        for _, message in outcome.staff:
            found[message.reference] = message
    person = third.drafts[0][0].person
    lines = ("late.example: nothing to do, it complies.", "other.example: no HTTPS. Order a certificate.")
    bulletin = Bulletin("All sites on HTTPS", date(2027, 7, 1), "From then on HTTP is switched off.", lines)
    found["bulletin"] = bulletin_message(
        "bulletin", person, bulletin, street.rules.sender, street.templates, "Grace Hopper", "CM-AAAAAA"
    )
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Browser]:
    with chromium.browser() as opened:
        yield opened


KINDS = ("you-act-de", "you-act-en", "we-act-de", "escalated-en", "resolved-en", "digest", "alarm", "bulletin")


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing(post: Post, browser: chromium.Browser, tmp_path: Path, kind: str) -> None:
    page = tmp_path / "mail.html"
    page.write_text(post.messages[kind].html, encoding="utf-8")
    for width in (900, 360):
        browser.open(page, width=width)
        assert browser.violations() == []
        assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), "nothing sticks out"
    assert [u for u in browser.requests if not u.startswith("file:")] == [], "no tracking, nothing from outside"


@pytest.mark.parametrize("kind", KINDS)
def test_html_and_text_say_the_same(post: Post, kind: str) -> None:
    message = post.messages[kind]
    assert not re.search(r"<(script|img|iframe|link|object)|url\(|src=", message.html)
    words = set(re.findall(r"[\wäöüß.-]{6,}", re.sub(r"<[^>]+>", " ", message.html.split("<main", 1)[1])))
    missing = {w for w in words if w not in message.text and w not in ("max-width",)}
    assert not missing, missing
    assert "\n" not in message.subject


def test_the_first_sentence_is_the_outcome(post: Post) -> None:
    starts = {
        "you-act-de": "Sie müssen", "you-act-en": "You need to act as soon as possible.",
        "we-act-de": "Wir beheben es: Ada Lovelace erledigt es bis 5. März 2026.", "escalated-en": "We passed it to our specialists (level 2)",
        "resolved-en": "It is done, and we close it. Thank you!",
    }  # fmt: skip
    for kind, start in starts.items():
        lines = [line for line in post.messages[kind].text.splitlines() if line.strip()]
        assert lines[1].startswith(start), lines[:3]


def test_a_fault_names_the_certificate_beside_it_unless_it_is_anothers(tmp_path: Path) -> None:
    street = Street(open_sqlite(tmp_path / "street.db"))
    street.client("1")
    site = street.site("shop.example", "1")
    leaf = site.serve(START - 10 * DAY, 398 * DAY)
    street.baseline()
    site.faults["not-tls"] = fault("not-tls", "critical")
    ((_, message),) = street.day().drafts
    assert f"Certificate (issued by Test CA): {leaf.sha256[:16]}" in message.text
    assert re.search(r"ends: 25 March 2027, 10:00 UTC", message.text)
    street.sent()
    site.faults = {"name-mismatch": fault("name-mismatch", "critical", names=["shop.example", "secret.other.example"])}
    ((_, message),) = street.day().drafts
    assert leaf.sha256[:16] not in message.text
    assert "secret" not in message.text


def test_a_message_has_what_a_client_needs(post: Post) -> None:
    text = post.messages["you-act-de"].text
    assert "www.müller-und-söhne.example" in text, "the name as it is written, not its A-label"
    assert re.search(r"Zertifikat \(ausgestellt von Test CA\): [0-9a-f]{16}", text), "serial"
    assert re.search(r"endet: 10\. März 2026, 23:00 \w+ \(2026-03-10 22:00 UTC\)", text), "local time and UTC"
    assert "Grace Hopper" in text
    assert re.search(r"CM-[2-9A-HJ-NP-Z]{6}", text)
    assert "innerhalb dieser Zeit: one working day" in text
    assert "CSR" in text, "the exact step"
    assert "Audit log:" in post.messages["digest"].text
