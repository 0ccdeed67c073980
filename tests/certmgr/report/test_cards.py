"""One card per action, rows without repeated sentences, and drawings without overlaps."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.demo.pages import page
from certmgr.demo.servers import server_context
from certmgr.report import html
from certmgr.report.cards import action_cards, remark_lines, report_ports, site_rows
from certmgr.report.event_groups import grouped_events
from certmgr.report.html import NARROW, WIDE, chart, time_line
from certmgr.report.model import Bar, ReportEvent
from notifiers.wording.catalogue import language
from tests.certmgr.report.provider import NOW, ReportProvider, States, text_of
from tests.servers import chromium

# Texts of the drawings that are shown, as boxes that lie over each other or outside.
OVERLAPS = """(() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg')) {
    if (!svg.checkVisibility()) continue;
    const outer = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll('text:not(.number), rect.bar')]
      .map((e) => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width && r.height);
    for (const [e, r] of boxes)
      if (r.left < outer.left - 1 || r.right > outer.right + 1) found.push('out: ' + e.outerHTML);
    for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
      const r = boxes[i][1], s = boxes[j][1];
      if (Math.min(r.right, s.right) - Math.max(r.left, s.left) > 1
          && Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top) > 2)
        found.push(boxes[i][0].outerHTML + ' / ' + boxes[j][0].outerHTML);
    }
  }
  return found;
})()"""
HOSTS = tuple(f"{n}.shop.example.test" for n in ("a", "b", "c", "d", "xn--grten-gra"))


@pytest.fixture
def shop(provider: ReportProvider) -> ReportProvider:
    """A client whose five sites expired together, and another client with the same fault."""
    now = provider.clock()
    old = provider.issuer.issue(
        *HOSTS, not_before=now - timedelta(days=60), not_after=now - timedelta(days=1)
    )
    provider.client("1001", "Shop", hosts="us", dns="us", buys="client", renews="client")
    provider.sites("1001", HOSTS, server_context(old))
    good = ("good.example.test", "fine.example.test")
    provider.sites("1001", good, server_context(provider.issuer.issue(*good)))
    provider.client("1002", "Other", hosts="us", dns="us", buys="client", renews="client")
    other = provider.issuer.issue(
        "other.example.test", not_before=now - timedelta(days=60), not_after=now - timedelta(days=1)
    )
    provider.site("1002", "other.example.test", server_context(other))
    provider.scan()
    return provider


def test_sites_with_the_same_fault_share_a_card(shop: ReportProvider) -> None:
    report, reader_language = shop.report("1001")
    assert len(report.you_act) == 5, "programs still get each action"
    (card,) = action_cards(report.you_act, report_ports(report))
    assert set(card.sites) == {s.name for s in report.sites if s.state == "fault"}
    text = text_of(html.render(report, reader_language))
    # Once in the card, and once as the fact about all five.
    assert text.count("expired on") == 2
    assert "The same holds for: b.shop.example.test" in text
    assert "other.example.test" not in text


def test_sites_with_the_same_facts_share_a_row(shop: ReportProvider) -> None:
    report, reader_language = shop.report("1001")
    rows = site_rows(report)
    assert sorted(n for r in rows for n in r.names) == sorted(s.name for s in report.sites)
    assert ("fine.example.test", "good.example.test") in [r.names for r in rows]
    text = text_of(html.render(report, reader_language))
    assert text.count("Everything that we tested is in order.") == 1


def test_remark_is_stated_once_below_the_sites(shop: ReportProvider) -> None:
    report, reader_language = shop.report("1001")
    remark = "{} does not instruct browsers to use only HTTPS; visitors notice nothing."
    names = [s.name for s in report.sites]
    sites = tuple(
        dataclasses.replace(
            s, facts=(*s.facts, remark.format(s.name)), remarks=(remark.format(s.name),)
        )
        for s in report.sites
    )
    changed = dataclasses.replace(report, sites=sites)
    # The remark names its site, and still makes no rows of equal sites differ.
    assert [r.names for r in site_rows(changed)] == [r.names for r in site_rows(report)]
    (line,) = remark_lines(changed)
    assert line.text == remark.format(names[0]) and line.sites == tuple(names)
    text = text_of(html.render(changed, reader_language))
    assert text.count("does not instruct browsers") == 1
    assert "Remarks that are not urgent" not in text_of(html.render(report, reader_language))


def test_instruction_that_all_cards_share_is_stated_once(shop: ReportProvider) -> None:
    report, reader_language = shop.report("1001")
    first, second = report.you_act[:2]
    other = dataclasses.replace(second, code="chain-incomplete", what="Another fault.")
    changed = dataclasses.replace(report, you_act=(first, other))
    assert len(action_cards(changed.you_act, report_ports(changed))) == 2
    assert text_of(html.render(changed, reader_language)).count(first.do) == 1
    apart = dataclasses.replace(report, you_act=(first, dataclasses.replace(other, do="Call.")))
    text = text_of(html.render(apart, reader_language))
    assert first.do in text and "Call." in text


def test_sites_that_expired_on_different_days_share_a_card_with_a_line_each(
    shop: ReportProvider,
) -> None:
    report, reader_language = shop.report("1001")
    dates = ("20", "20", "21", "22", "22")
    actions = tuple(
        dataclasses.replace(a, what=f"{a.site} expired on {day} November.", do=f"Renew {a.site}.")
        for a, day in zip(report.you_act, dates, strict=True)
    )
    (card,) = action_cards(actions, report_ports(report))
    assert card.sites == tuple(a.site for a in actions)
    assert [len(line.sites) for line in card.statements] == [2, 1, 2]
    text = text_of(html.render(dataclasses.replace(report, you_act=actions), reader_language))
    assert [text.count(f"expired on {d} November") for d in ("20", "21", "22")] == [1, 1, 1]
    assert text.count("Renew ") == 1
    assert f"The same holds for: {', '.join(card.sites[1:])}" in text


def test_ends_of_many_certificates_are_a_date_per_month(provider: ReportProvider) -> None:
    provider.client("3", "Many")
    report, reader_language = provider.report("3")

    def end(day: int) -> ReportEvent:
        at = NOW + timedelta(days=day)
        name = f"site{day}.example"
        day_text = reader_language.date(at)
        return ReportEvent(at, day_text, "certificate", "Certificate ends", "", True, (name,), ())

    few, many = [end(d) for d in range(8)], [end(d) for d in range(60)]
    rule = dataclasses.replace(end(20), kind="rule", title="A rule", affected=())
    assert grouped_events(few, reader_language) == tuple(few)
    shown = grouped_events([*many[:20], rule, *many[20:]], reader_language)
    assert [n for e in shown for n in e.affected] == [n for e in many for n in e.affected]
    assert rule in shown
    assert len(shown) == len({(e.at.year, e.at.month) for e in many}) + 1
    assert shown[0].at_text == f"{many[0].at_text} – 30 November 2026"
    text = text_of(html.render(dataclasses.replace(report, events=tuple(many)), reader_language))
    assert text.count("Certificates end") == len(shown) - 1


def test_report_without_sites_has_no_empty_table(provider: ReportProvider) -> None:
    provider.client("3", "בית קפה")
    report, reader_language = provider.report("3")
    page_text = html.render(report, reader_language)
    assert "<table" not in page_text
    assert "<bdi>בית קפה</bdi>" in page_text
    assert "We open each address" not in text_of(page_text)


def test_different_dates_and_instructions_stay_apart(shop: ReportProvider) -> None:
    report, _ = shop.report("1001")
    first, second = report.you_act[:2]
    changes: tuple[dict[str, Any], ...] = (
        {"by_text": "by 5 December 2026"},
        {"do": "Something else"},
        {"person": "Ines"},
        {"outcome": "we-act"},
    )
    for change in changes:
        assert len(action_cards([first, dataclasses.replace(second, **change)], {})) == 2
    assert len(action_cards([first, second], {})) == 1


def test_site_that_was_measured_earlier_has_its_date(shop: ReportProvider) -> None:
    report, _ = shop.report("1001")
    assert not any(r.measured for r in site_rows(report))
    old = report.sites[0]
    assert old.measured is not None
    earlier = dataclasses.replace(old, measured=old.measured - timedelta(days=3))
    changed = dataclasses.replace(report, sites=(earlier, *report.sites[1:]))
    assert [r.names for r in site_rows(changed) if r.measured] == [(old.name,)]


@pytest.mark.parametrize("width", [360, 500, 768, 1280])
def test_drawings_do_not_overlap(
    shop: ReportProvider, browser: chromium.Browser, tmp_path: Path, width: int
) -> None:
    report, reader_language = shop.report("1001", language_code="de")
    names = ("w" * 60 + ".example.test", "証明書" * 12 + ".example.test", "a.example.test")
    bars = tuple(
        Bar(n, days, f"noch {days} Tage") for n, days in zip(names, (397, 90, 0), strict=True)
    )
    event = ReportEvent(NOW, "", "rule", "x", "", True, (), ())
    events = tuple(
        dataclasses.replace(event, at=report.as_of + timedelta(days=d), at_text=f"Tag {d}")
        for d in (1, 1, 2, 3, 100, 101, 102, 300, 799)
    )
    path = tmp_path / "report.html"
    report = dataclasses.replace(report, bars=bars, events=events)
    path.write_text(html.render(report, reader_language), encoding="utf-8")
    browser.open(path, width=width)
    assert browser.evaluate(OVERLAPS) == []
    shown = browser.evaluate(
        "[...document.querySelectorAll('svg')].filter((e) => e.checkVisibility())"
        ".map((e) => e.getAttribute('class'))"
    )
    assert shown == (["narrow"] * 2 if width <= 544 else ["wide"] * 2)
    assert browser.violations() == []


def test_marks_of_the_time_line_keep_their_distance() -> None:
    event = ReportEvent(NOW, "", "rule", "x", "", True, (), ())
    events = [dataclasses.replace(event, at=NOW + timedelta(days=d)) for d in (1, 1, 1, 2, 90, 91)]
    for width in (WIDE, NARROW):
        line = time_line(events, NOW, language("en"), width)
        assert all(0 < m.x < width for m in line.marks)
        for one in line.marks:
            for other in line.marks:
                apart = abs(one.x - other.x) >= 27 or abs(one.y - other.y) >= 27
                assert one is other or apart
    assert chart([]).bars == ()


def test_summary_counts_the_sites(all_states: States) -> None:
    report, reader_language = all_states[1]["act"]
    rendered = html.render(report, reader_language)
    start = rendered.index('class="tiles"')
    tiles = text_of(rendered[start - 5 : rendered.index("</ul>", start)])
    assert tiles.startswith("2 ✗ fault")
    assert "Next date" in tiles


def test_page_of_a_fault_is_one_card_per_server(provider: ReportProvider) -> None:
    """Relatives of an expired certificate: pages without HTTPS, at level 2."""
    hosts = ("a.example.test", "b.example.test")
    provider.client("1", "One", hosts="us", dns="us", buys="us", renews="us")
    provider.sites("1", hosts, server_context(provider.issuer.issue(*hosts)))
    for host in hosts:
        provider.plain[host] = page("Login", "<input type=password>", hsts=False)
    provider.scan()
    report, _ = provider.report("1")
    cards = action_cards(report.escalated, report_ports(report))
    cards = tuple(c for c in cards if c.action.code == "http-collects-secrets")
    assert [c.sites for c in cards] == [hosts]
