"""The decisions of ACME: limits, renewal, waiting, problems, preflight, chains. No network."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.cases.csr import spki
from certmgr.demo.authority import Authority
from certmgr.dns.caa import Permission
from certmgr.issuance import limits, received, renewal, waiting
from certmgr.issuance.cas import Ca, Limit, Limits, known
from certmgr.issuance.limits import Event, Ledger
from certmgr.issuance.preflight import Facts, Sort, advise
from certmgr.issuance.probe import Probed
from certmgr.issuance.problems import Follows, Problem, parse, retry_after, stored
from certmgr.issuance.renewal import Life, due, is_near, window
from certmgr.issuance.simulate import Item, simulate
from inventory.clock import system_clock
from inventory.errors import CertmgrError

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
DAY = timedelta(days=1)


# -- limits --------------------------------------------------------------------------------------------------------------


def test_the_fifth_of_a_set_waits_until_the_first_is_a_week_old() -> None:
    ledger = Ledger(Limits(exact=Limit(5, 7 * 86_400)))
    for hours in (100, 80, 60, 40, 20):
        ledger.add(Event("exact", limits.exact(["a.test", "b.test"]), AT - hours * 3600))
    said = ledger.allows(1, ["b.test", "a.test"], AT)
    assert said.until == AT - 100 * 3600 + 7 * 86_400
    assert "5 in 7 d" in said.reason
    assert ledger.allows(1, ["a.test"], AT).until is None
    assert ledger.allows(1, ["b.test", "a.test"], AT, exempt=True).until is None
    assert ledger.allows(1, ["b.test", "a.test"], said.until).until is None


def test_domains_are_counted_by_the_public_suffix_list() -> None:
    assert limits.domains(["*.shop.example.co.uk", "example.co.uk", "a.github.io", "192.0.2.1"]) == [
        "example.co.uk",
        "a.github.io",
        "192.0.2.1",
    ]
    ledger = Ledger(Limits(domain=Limit(2, 86_400)))
    for _ in range(2):
        ledger.order(1, ["www.example.co.uk"], AT - 60)
    assert ledger.allows(1, ["shop.example.co.uk"], AT).until == AT - 60 + 86_400
    assert ledger.allows(1, ["other.co.uk"], AT).until is None


def test_each_account_and_each_failing_name_has_a_limit_of_its_own() -> None:
    ledger = Ledger(Limits(account=Limit(1, 10_800), failure=Limit(5, 3600)))
    ledger.add(Event("order", "1", AT - 10))
    assert ledger.allows(1, ["a.test"], AT).until == AT - 10 + 10_800
    assert ledger.allows(2, ["a.test"], AT).until is None
    for i in range(5):
        ledger.add(Event("failure", "2:bad.test", AT - i))
    assert ledger.allows(2, ["bad.test"], AT).until == AT - 4 + 3600
    assert ledger.allows(2, ["a.test"], AT).until is None


def test_the_longest_wait_counts() -> None:
    ledger = Ledger(Limits(account=Limit(1, 10_800), domain=Limit(1, 7 * 86_400)))
    ledger.order(1, ["a.test"], AT)
    assert ledger.allows(1, ["a.test"], AT).until == AT + 7 * 86_400


def test_rows_become_events_but_for_exempt_ones() -> None:
    row: dict[str, Any] = {"account_id": 1, "at": AT, "kind": "certificate", "domain": "a.test", "names": None, "exempt": 0}
    assert limits.of_rows([row, row | {"exempt": 1}, row | {"domain": None, "names": "x"}]) == [
        Event("certificate", "a.test", AT),
        Event("exact", "x", AT),
    ]


# -- renewal -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "left"),
    [(90, 30), (45, 15), (10, 10 / 3), (6, 3), (9.9, 4.95)],
    ids=["90 d", "45 d", "10 d", "6 d: half", "just under 10 d"],
)
def test_without_ari(days: float, left: float) -> None:
    life = Life(NOW, NOW + days * DAY)
    assert due(life).at == NOW + days * DAY - left * DAY
    assert not due(life).urgent


def test_ari_decides_but_not_near_the_end() -> None:
    end = NOW + 90 * DAY
    assert due(Life(NOW, end, ari_at=NOW + 50 * DAY)).at == NOW + 50 * DAY
    late = due(Life(NOW, end, ari_at=NOW + 89 * DAY))
    assert late.at == NOW + 75 * DAY and late.urgent
    assert is_near(Life(NOW, end), NOW + 76 * DAY) and not is_near(Life(NOW, end), NOW + 74 * DAY)


def test_revoked_is_renewed_at_once() -> None:
    found = due(Life(NOW, NOW + 90 * DAY, ari_at=NOW + 60 * DAY, bad="it is revoked"))
    assert found.at <= NOW and found.urgent and found.reason == "it is revoked"


def test_a_window_and_what_is_none() -> None:
    end = NOW + 90 * DAY
    good = {
        "suggestedWindow": {"start": "2027-01-01T00:00:00Z", "end": "2027-01-03T00:00:00Z"},
        "explanationURL": "https://ca.example/why",
    }
    found = window(good, end)
    assert found is not None
    assert found.url == "https://ca.example/why"
    assert found.instant(0.0) == datetime(2027, 1, 1, tzinfo=UTC) and found.instant(0.5) == datetime(2027, 1, 2, tzinfo=UTC)
    bad: Any
    for bad in (
        {}, [], None, "x", {"suggestedWindow": {}}, {"suggestedWindow": {"start": "2027-01-03T00:00:00Z", "end": "2027-01-01T00:00:00Z"}},
        {"suggestedWindow": {"start": "tomorrow", "end": "never"}}, {"suggestedWindow": {"start": "2029-01-01T00:00:00Z", "end": "2029-01-03T00:00:00Z"}},
        {"suggestedWindow": {"start": 5, "end": 6}}, {"suggestedWindow": {"start": "2027-01-01T00:00:00", "end": "2027-01-03T00:00:00"}},
    ):  # fmt: skip
        assert window(bad, end) is None, bad
    javascript = window(good | {"explanationURL": "javascript:alert(1)"}, end)
    assert javascript is not None and javascript.url == ""


def test_ari_is_asked_at_least_twice_a_day() -> None:
    assert renewal.ask_again(None, NOW) == NOW + timedelta(hours=6)
    assert renewal.ask_again("21600", NOW) == NOW + timedelta(hours=6)
    assert renewal.ask_again("999999", NOW) == NOW + timedelta(hours=12)
    assert renewal.ask_again("0", NOW) == NOW + timedelta(minutes=1)
    assert renewal.ask_again("Wed, 25 Nov 2026 13:00:00 GMT", NOW) == NOW + timedelta(hours=1)


def test_the_id_of_the_certificate_of_rfc_9773() -> None:
    """Against the id that the library makes, for serials whose first bit is set and not."""
    from acme.client import _renewal_info_path_component

    authority = Authority("Ari")
    for _ in range(8):
        leaf = authority.issue("a.test").certificate
        assert renewal.ari_id(leaf) == _renewal_info_path_component(leaf)


# -- waiting -------------------------------------------------------------------------------------------------------------


def test_a_limit_backs_off_from_one_hour_to_thirty_two() -> None:
    hours = [waiting.back_off(n, 0.0) / 3600 for n in range(1, 9)]
    assert hours == [1, 2, 4, 8, 16, 32, 32, 32]
    assert waiting.back_off(1, 1.0) == pytest.approx(3600 * 1.1)
    assert waiting.back_off(1, 0.0, retry_after=50_000) == 50_000


def test_other_failures_are_tried_after_1_10_100_minutes_then_daily() -> None:
    assert [waiting.retry(n, 0.0) for n in range(1, 6)] == [60, 600, 6000, 86_400, 86_400]


# -- problems ------------------------------------------------------------------------------------------------------------


def test_retry_after_in_both_forms() -> None:
    assert retry_after("120", NOW) == 120
    assert retry_after("Wed, 25 Nov 2026 12:02:00 GMT", NOW) == 120
    assert retry_after("Wed, 25 Nov 2026 11:00:00 GMT", NOW) == 0
    assert retry_after("Wed, 25 Nov 2026 14:02:00 +0200", NOW) == 120
    assert retry_after("9" * 50, NOW) == 7 * 86_400
    for bad in (None, "", "soon", "-5", "12.5", "Wed, 99 Nov 2026"):
        assert retry_after(bad, NOW) is None, bad


def test_a_problem_with_its_sub_problems_in_words() -> None:
    document = {
        "type": "urn:ietf:params:acme:error:compound", "detail": "Some names \x1b[31mfailed", "subproblems": [
            {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids", "identifier": {"type": "dns", "value": "a.test"}},
            {"type": "urn:ietf:params:acme:error:dns", "detail": "$(reboot) `id`", "identifier": {"type": "dns", "value": "b.test"}},
        ],
    }  # fmt: skip
    found = parse(document, 403)
    assert "\x1b" not in found.sentence
    assert "a.test: CAA records forbid the CA to issue: CAA forbids" in found.sentence and "b.test" in found.sentence
    assert set(found.names()) == {"a.test", "b.test"}
    again = stored(found.to_json())
    assert again is not None and again.sentence == found.sentence


def test_whatever_a_document_is_a_problem_comes_of_it() -> None:
    document: Any
    for document in (
        None,
        5,
        [],
        "x",
        {"type": 5, "detail": [], "subproblems": "x"},
        {"subproblems": [None, 5]},
        {"identifier": "x"},
    ):
        assert isinstance(parse(document, 500).sentence, str)
    deep: Any = {}
    for _ in range(100):
        deep = {"subproblems": [deep] * 2}
    assert len(parse(deep, 400).sentence) < 10_000


@pytest.mark.parametrize(
    ("problem", "follows"),
    [
        (Problem("badNonce"), Follows.RETRY), (Problem("rateLimited", status=429), Follows.BACK_OFF), (Problem("", status=503), Follows.BACK_OFF),
        (Problem("alreadyReplaced", status=409), Follows.WITHOUT_REPLACES), (Problem("malformed", "cannot replace that certificate"), Follows.WITHOUT_REPLACES),
        (Problem("accountDoesNotExist"), Follows.ACCOUNT), (Problem("userActionRequired"), Follows.TERMS), (Problem("caa"), Follows.NAMES),
        (Problem("badCSR"), Follows.STAFF),
    ],
)  # fmt: skip
def test_what_follows(problem: Problem, follows: Follows) -> None:
    assert problem.follows is follows


def test_a_paused_name_is_known() -> None:
    assert Problem(
        "rateLimited",
        "Your account is temporarily prevented from requesting certificates for a.test and possibly others. Please visit: https://unpause",
    ).paused
    assert not Problem("rateLimited", "too many new orders").paused


# -- what the CA sent ----------------------------------------------------------------------------------------------------


def _pem(*certificates: Any) -> bytes:
    return b"".join(c.public_bytes(Encoding.PEM) for c in certificates)


def test_a_chain_in_any_order_becomes_the_order_of_a_server() -> None:
    root = Authority("Root R")
    middle = Authority("Middle", root)
    issuer = Authority("Issuer", middle)
    made = issuer.issue("a.test", days=30)
    key = spki(made.key.public_key())
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        chain = received.read(_pem(*(made.chain[i] for i in order), root.certificate), key, ["a.test"], system_clock())
        assert [c.der for c in chain.certificates] == [c.public_bytes(Encoding.DER) for c in made.chain]
        assert chain.top == "Root R"


def test_what_does_not_belong_is_refused() -> None:
    root = Authority("Root")
    issuer, other = Authority("Issuer", root), Authority("Other", root)
    made, stranger = issuer.issue("a.test", days=30), issuer.issue("a.test", days=30)
    now, key = system_clock(), spki(made.key.public_key())
    wrong: list[tuple[bytes, list[str], datetime, str]] = [
        (_pem(*stranger.chain), ["a.test"], now, "another key"), (_pem(*made.chain), ["a.test", "b.test"], now, "lacks b.test"),
        (_pem(*made.chain), ["b.test"], now, "lacks b.test"), (_pem(made.certificate, other.certificate), ["a.test"], now, "none of the certificates"),
        (_pem(*made.chain), ["a.test"], now - 40 * DAY, "check the clock"), (_pem(*made.chain), ["a.test"], now + 60 * DAY, "check the clock"),
        (b"no pem", ["a.test"], now, "no certificate chain"), (_pem(*[made.certificate] * 11), ["a.test"], now, "limit is 10"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ["a.test"], now, "cannot be parsed"),
    ]  # fmt: skip
    for pem, names, at, words in wrong:
        with pytest.raises(CertmgrError, match=words):
            received.read(pem, key, names, at)
    extra = issuer.issue("a.test", "c.test", days=30)
    with pytest.raises(CertmgrError, match=r"not asked for: c\.test"):
        received.read(_pem(*extra.chain), spki(extra.key.public_key()), ["a.test"], now)


def test_the_chain_that_was_asked_for() -> None:
    roots = [Authority("Old Root"), Authority("New Root")]
    key = Authority("x").key
    chains = []
    for root in roots:
        issuer = Authority("Issuer", root, key=key)
        made = issuer.issue("a.test", days=30)
        chains.append(received.read(_pem(*made.chain), spki(made.key.public_key()), ["a.test"], system_clock()))
    assert received.choose(chains, None) == (chains[0], "")
    assert received.choose(chains, "new root") == (chains[1], "")
    chosen, why = received.choose(chains, "Third")
    assert chosen is chains[0] and "Old Root, New Root" in why


# -- preflight -----------------------------------------------------------------------------------------------------------


OK = Probed("192.0.2.1", "ok")


@pytest.mark.parametrize(
    ("facts", "sort", "record"),
    [
        (Facts("a.test", "http-01", "ok", ("192.0.2.1",), ("192.0.2.1",), probes=(OK,)), Sort.AUTOMATE, ""),
        (Facts("a.test", "http-01", "ok", ("198.51.100.1",), (), probes=()), Sort.ELSEWHERE, ""),
        (Facts("a.test", "http-01", "nxdomain", server=("192.0.2.1",)), Sort.RECORD, "a.test. IN A 192.0.2.1"),
        (Facts("a.test", "http-01", "servfail", reason="SERVFAIL"), Sort.UNKNOWN, ""),
        (Facts("a.test", "http-01", "ok", ("192.0.2.1",), ("192.0.2.1",), validated="ov"), Sort.BUY, ""),
        (Facts("*.a.test", "http-01", "ok", ("192.0.2.1",)), Sort.BUY, ""),
        (Facts("a.test", "http-01", "ok", ("192.0.2.1",), caa=Permission(False, "only other.example may"), caa_wanted='a.test. IN CAA 0 issue "ca.example"'), Sort.RECORD, 'a.test. IN CAA 0 issue "ca.example"'),
        (Facts("a.test", "http-01", "ok", ("192.0.2.1", "2001:db8::1"), ("192.0.2.1",), probes=(OK, Probed("2001:db8::1", "other", "HTTP 404"))), Sort.RECORD, "remove: a.test. IN AAAA 2001:db8::1"),
        (Facts("a.test", "http-01", "ok", ("192.0.2.1",), ("192.0.2.1",), probes=(Probed("192.0.2.1", "failed", "refused"),)), Sort.UNKNOWN, ""),
        (Facts("*.a.test", "dns-01", "ok", delegated="a.acme.provider.test"), Sort.AUTOMATE, ""),
        (Facts("*.a.test", "dns-01", "ok", may_set=False, delegate_to="a.test.acme.provider.test"), Sort.RECORD, "_acme-challenge.a.test. IN CNAME a.test.acme.provider.test."),
        (Facts("a.test", "dns-01", "ok", may_set=True), Sort.AUTOMATE, ""),
    ],
)  # fmt: skip
def test_advice(facts: Facts, sort: Sort, record: str) -> None:
    found = advise(facts)
    assert (found.sort, found.record) == (sort, record), found
    assert found.reason


# -- simulation ----------------------------------------------------------------------------------------------------------


def test_a_year_at_45_days() -> None:
    """Renewed with a third of 45 days left: every 30 days."""
    items = [Item(f"l{i}", (f"a{i}.test",), 1, "ca", NOW - 50 * DAY, NOW + (40 + i % 10) * DAY) for i in range(100)]
    found = simulate(items, {"ca": Ca("ca", "CA", "https://ca.test")}, 45 * DAY, NOW, NOW + 365 * DAY)
    assert found.postponed == 0
    assert 100 * 11 <= found.orders <= 100 * 12
    assert sum(found.days.values()) == found.orders


def test_where_limits_are_in_the_way() -> None:
    """60 names of one domain come due on one day; the CA gives 50 a week."""
    items = [Item(f"l{i}", (f"h{i}.shop.example",), 1, "ca", NOW - 60 * DAY, NOW + 30 * DAY) for i in range(60)]
    ca = Ca("ca", "CA", "https://ca.test", limits=Limits(domain=Limit(50, 7 * 86_400)))
    found = simulate(items, {"ca": ca}, 90 * DAY, NOW, NOW + 20 * DAY)
    assert found.orders == 60
    assert found.days[NOW.date()] == 50 and found.days[(NOW + 7 * DAY).date()] == 10
    assert found.postponed == 10 and not found.expired
    assert "50 in 7 d for certificates of shop.example" in found.hits[0].reason
    exempt = simulate(
        [
            Item(**{f: getattr(i, f) for f in ("name", "names", "account", "ca", "not_before", "not_after")}, ari=True)
            for i in items
        ],
        {"ca": ca},
        90 * DAY,
        NOW,
        NOW + 20 * DAY,
    )
    assert exempt.postponed == 0


def test_the_known_cas_say_where_and_whence() -> None:
    assert {"letsencrypt", "letsencrypt-staging", "zerossl", "google", "sslcom", "sectigo", "digicert"} <= set(known())
    for ca in known().values():
        assert ca.directory.startswith("https://") and ca.source and ca.caa
        assert not ca.eab or ca.eab_where
    assert known()["letsencrypt"].limits == Limits(Limit(300, 10_800), Limit(50, 604_800), Limit(5, 604_800), Limit(5, 3600))
