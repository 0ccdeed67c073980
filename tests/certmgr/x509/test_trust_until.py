"""Until when browsers trust a certificate: paths, rules, and the clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from certmgr.demo.authority import Authority
from certmgr.x509.trust_rules import TrustRule, TrustRules, spki_sha256
from certmgr.x509.trust_until import (
    ALWAYS,
    MAX_STEPS,
    LeafDates,
    PathFinder,
    TrustEnd,
    UpperPath,
    leaf_dates,
    trusted_until,
    upper_path,
)
from inventory.certificates import Certificate, parse

# A fixed day: the dates of the rules are fixed too.
NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)
DAY = timedelta(days=1)
BOTH = ("chrome", "mozilla")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rule(kind: str, **values: Any) -> TrustRule:
    defaults: dict[str, Any] = {
        "name": f"test-{kind}",
        "browsers": BOTH,
        "ca": "Test CA",
        "source": "test",
        "confidence": "V",
    }
    return TrustRule(kind=kind, **defaults | values)


def rules(*listed: TrustRule) -> TrustRules:
    return TrustRules("test-1", date(2026, 11, 27), listed)


def made(text: str, name: str = "Root", **values: Any) -> Authority:
    """Return a root that was made on a day and lives long."""
    dates: Any = {"not_before": at(text), "not_after": at("2060-01-01"), "clock": lambda: NOW}
    return Authority(name, **dates | values)


def ends_of(
    leaf: Certificate,
    served: Sequence[Certificate],
    roots: Sequence[Authority],
    in_force: TrustRules,
    known: Sequence[Certificate] = (),
) -> dict[str, TrustEnd]:
    finder = PathFinder.of(
        [parse(r.der) for r in roots], lambda s: [c for c in known if c.subject_key == s]
    )
    dates = leaf_dates(leaf, in_force)
    assert dates is not None
    sent = [c.sha256 for c in served]
    upper = [upper_path(p[1:], in_force, sent) for p in finder.paths(leaf, served)]
    return {e.browser: e for e in trusted_until(dates, upper, in_force)}


def chain(issuer: Authority, **values: Any) -> tuple[Certificate, list[Certificate]]:
    defaults: dict[str, Any] = {"not_before": NOW - DAY, "not_after": NOW + 190 * DAY}
    issued = issuer.issue("shop.example.test", **defaults | values)
    return parse(issued.der), [parse(issuer.der)]


def test_without_a_rule_trust_ends_one_second_after_not_after() -> None:
    root = made("2020-01-01")
    leaf, served = chain(Authority("Issuer", root))
    ends = ends_of(leaf, served, [root], rules())
    assert {"chrome", "mozilla"} <= set(ends)
    for end in ends.values():
        assert leaf.not_after is not None
        assert (end.at, end.rule) == (leaf.not_after + timedelta(seconds=1), None)
        assert not end.early
        assert end.state(NOW) == "trusted"


def test_removal_by_fingerprint_concerns_its_browser_alone() -> None:
    root = made("2020-01-01")
    sha256 = parse(root.der).sha256
    day = NOW + 30 * DAY
    removed = rule("removed", browsers=("mozilla",), certificates=frozenset({sha256}), at=day)
    leaf, served = chain(Authority("Issuer", root))
    ends = ends_of(leaf, served, [root], rules(removed))
    assert (ends["mozilla"].at, ends["mozilla"].rule) == (day, removed)
    assert ends["chrome"].rule is None
    assert ends["mozilla"].state(day - DAY) == "ends"
    assert ends["mozilla"].state(day) == "ended"


def test_removal_without_a_date_holds_always() -> None:
    root = made("2020-01-01")
    removed = rule("removed", certificates=frozenset({parse(root.der).sha256}))
    leaf, served = chain(Authority("Issuer", root))
    assert ends_of(leaf, served, [root], rules(removed))["chrome"].at == ALWAYS


@pytest.mark.parametrize("sent", [True, False], ids=["sent", "known"])
def test_cross_certificate_to_a_younger_root_keeps_trust(sent: bool) -> None:
    """As with GlobalSign R3 and R46: the issuer leads to the old root and to the new one."""
    old, new = made("2009-03-18", "Old Root"), made("2019-03-20", "New Root")
    cross = parse(Authority("New Root", old, key=new.key).der)
    issuer = Authority("Issuer", new)
    sunset = rule(
        "key-age",
        key_from=at("2008-01-01"),
        key_until=at("2010-01-01"),
        at=at("2027-04-15"),
        approximate=True,
    )
    leaf, served = chain(issuer, not_after=at("2027-06-01"))
    path = [*served, cross] if sent else served
    known = [] if sent else [cross]
    both = ends_of(leaf, path, [old, new], rules(sunset), known)
    assert not both["chrome"].early, "the path to the new root holds"
    assert both["chrome"].root == "CN=New Root"
    assert both["chrome"].unsent == "", "that path needs no further certificate"
    only_old = ends_of(leaf, path, [old], rules(sunset), known)
    assert only_old["chrome"].at == at("2027-04-15")
    assert only_old["chrome"].unsent == ("" if sent else cross.subject)


@pytest.mark.parametrize(
    ("day", "end"),
    [
        ("2008-01-01", "2027-04-15"),
        ("2009-12-31", "2027-04-15"),
        ("2007-12-31", None),
        ("2010-01-01", None),
    ],
)
def test_key_age_takes_the_day_of_the_root(day: str, end: str | None) -> None:
    root = made(day)
    sunset = rule(
        "key-age", key_from=at("2008-01-01"), key_until=at("2010-01-01"), at=at("2027-04-15")
    )
    leaf, served = chain(Authority("Issuer", root), not_after=at("2027-06-01"))
    found = ends_of(leaf, served, [root], rules(sunset))["mozilla"]
    assert found.at == (at(end) if end else at("2027-06-01") + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("day", "end"), [("2014-04-15", "2029-04-15"), ("2016-02-29", "2031-02-28")]
)
def test_later_keys_get_fifteen_years(day: str, end: str) -> None:
    root = made(day)
    sunset = rule("key-age", key_from=at("2014-04-15"), years=15)
    leaf, served = chain(Authority("Issuer", root), not_after=at("2040-01-01"))
    assert ends_of(leaf, served, [root], rules(sunset))["chrome"].at == at(end)


@pytest.mark.parametrize("basis", ["issued", "logged"])
@pytest.mark.parametrize("late", [False, True])
def test_certificate_is_refused_if_it_is_later_than_the_date(basis: str, late: bool) -> None:
    root = made("2020-01-01")
    starts = NOW - 10 * DAY
    last = starts - DAY if late else starts + DAY
    refused = rule(
        "not-trusted-after",
        basis=basis,
        at=last,
        certificates=frozenset({parse(root.der).sha256}),
    )
    leaf, served = chain(Authority("Issuer", root), not_before=starts)
    end = ends_of(leaf, served, [root], rules(refused))["chrome"]
    assert end.state(NOW) == ("ended" if late else "trusted")
    if late:
        assert end.at == starts, "it never was trusted"


def test_earliest_log_entry_decides_and_not_the_day_of_issue() -> None:
    last = at("2024-11-11")
    refused = rule("not-trusted-after", basis="logged", at=last, certificates=frozenset({"a" * 64}))
    path = UpperPath("CN=Root", (refused,), None, at("2060-01-01"))
    for logged, state in ((last, "trusted"), (last + timedelta(seconds=1), "ended")):
        leaf = LeafDates(last - DAY, last + 300 * DAY, logged)
        (chrome, _) = trusted_until(leaf, [path], rules(refused))
        assert chrome.state(last + 2 * DAY) == state


@pytest.mark.parametrize("which", ["root", "issuer", "leaf"])
def test_blocked_key_ends_every_path_that_contains_it(which: str) -> None:
    root = made("2020-01-01")
    issuer = Authority("Issuer", root)
    leaf, served = chain(issuer)
    of = {"root": parse(root.der), "issuer": parse(issuer.der), "leaf": leaf}[which]
    blocked = rule("blocked", spki=frozenset({spki_sha256(of)}), at=NOW - DAY)
    assert ends_of(leaf, served, [root], rules(blocked))["mozilla"].state(NOW) == "ended"


def test_blocked_issuer_key_ends_the_cross_signed_path_too() -> None:
    first, second = made("2020-01-01", "First"), made("2020-01-01", "Second")
    issuer = Authority("Issuer", first)
    cross = Authority("Issuer", second, key=issuer.key)
    leaf, served = chain(issuer)
    path = [*served, parse(cross.der)]
    blocked = rule("blocked", spki=frozenset({spki_sha256(parse(issuer.der))}))
    ends = ends_of(leaf, path, [first, second], rules(blocked))
    assert ends["chrome"].paths == 2
    assert ends["chrome"].state(NOW) == "ended"
    # A stolen key of one root leaves the path to the other.
    stolen = rule("blocked", spki=frozenset({spki_sha256(parse(first.der))}))
    assert not ends_of(leaf, path, [first, second], rules(stolen))["chrome"].early


def test_removed_root_may_go_on_as_an_intermediate() -> None:
    new = made("2020-01-01", "New")
    old = made("2015-01-01", "Old")
    cross = Authority("Old", new, key=old.key)
    leaf, served = chain(Authority("Issuer", old))
    path = [*served, parse(cross.der)]
    removed = rule("removed", certificates=frozenset({parse(old.der).sha256}))
    assert not ends_of(leaf, path, [old, new], rules(removed))["mozilla"].early


def test_issuer_that_expires_first_ends_the_path_without_a_rule() -> None:
    root = made("2020-01-01")
    issuer = Authority("Issuer", root, not_after=NOW + 20 * DAY)
    leaf, served = chain(issuer)
    end = ends_of(leaf, served, [root], rules())["chrome"]
    assert end.early
    assert end.rule is None
    assert end.at.date() == (NOW + 20 * DAY).date()


@pytest.mark.parametrize(("starts", "refused"), [("2027-03-14", False), ("2027-03-15", True)])
def test_client_authentication_is_refused_in_later_leaves(starts: str, refused: bool) -> None:
    root = made("2020-01-01")
    only = rule("eku", issued_from=at("2027-03-15"), at=at("2027-03-15"))
    issuer = Authority("Issuer", root)
    dates = {"not_before": at(starts), "not_after": at("2027-06-01")}
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    usage = [(x509.ExtendedKeyUsage(both), False)]
    leaf, served = chain(issuer, server_auth=False, extensions=usage, **dates)
    assert ends_of(leaf, served, [root], rules(only))["chrome"].early is refused
    plain, served = chain(issuer, **dates)
    assert not ends_of(plain, served, [root], rules(only))["chrome"].early


def test_small_rsa_key_of_an_issuer_ends_the_path() -> None:
    path = UpperPath("CN=Root", (), None, at("2060-01-01"), rsa_bits=1024)
    small = rule("key", rsa_bits=2048, at=at("2014-01-01"))
    leaf = LeafDates(NOW - DAY, NOW + DAY)
    assert trusted_until(leaf, [path], rules(small))[0].state(NOW) == "ended"
    good = UpperPath("CN=Root", (), None, at("2060-01-01"), rsa_bits=2048)
    assert trusted_until(leaf, [good], rules(small))[0].state(NOW) == "trusted"


@pytest.mark.parametrize("confidence", ["V", "M"])
@pytest.mark.parametrize("approximate", [True, False])
def test_uncertain_date_that_has_passed_is_undetermined(approximate: bool, confidence: str) -> None:
    root = made("2009-01-01")
    sunset = rule(
        "key-age",
        key_from=at("2008-01-01"),
        at=NOW - DAY,
        approximate=approximate,
        confidence=confidence,
    )
    leaf, served = chain(Authority("Issuer", root))
    state = ends_of(leaf, served, [root], rules(sunset))["chrome"].state(NOW)
    assert state == ("ended" if not approximate and confidence == "V" else "undetermined")


def test_report_that_confirms_a_root_disproves_uncertain_rules_of_before() -> None:
    root = made("2009-01-01")
    sha256 = frozenset({parse(root.der).sha256})
    day = NOW - 30 * DAY
    doubtful = [
        rule("key-age", key_from=at("2008-01-01"), at=day, approximate=True),
        rule("removed", certificates=sha256, at=day, confidence="S"),
    ]
    leaf, served = chain(Authority("Issuer", root))
    for uncertain in doubtful:
        for listed, early in ((day + DAY, False), (day - DAY, True)):
            included = rule("included", name="in", certificates=sha256, at=listed)
            end = ends_of(leaf, served, [root], rules(uncertain, included))["mozilla"]
            assert end.early is early


def test_last_date_of_a_certificate_does_not_overflow() -> None:
    root = Authority(
        "Root", not_before=at("2020-01-01"), not_after=at("9999-12-31T23:59:59"), clock=lambda: NOW
    )
    leaf, served = chain(
        Authority("Issuer", root, not_after=at("9999-12-31T23:59:59")),
        not_after=at("9999-12-31T23:59:59"),
    )
    sunset = rule("key-age", key_from=at("2014-04-15"), years=9000)
    assert ends_of(leaf, served, [root], rules(sunset))["chrome"].at.year == 9999


def test_loop_of_cross_certificates_ends() -> None:
    a, b = Authority("A", clock=lambda: NOW), Authority("B", clock=lambda: NOW)
    loop = [Authority("A", b, key=a.key), Authority("B", a, key=b.key)]
    leaf, served = chain(Authority("Issuer", a))
    root = made("2020-01-01")
    assert ends_of(leaf, [*served, *[parse(c.der) for c in loop]], [root], rules()) == {}


def test_search_among_cas_that_all_sign_each_other_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(10)]
    signers = [made("2020-01-01", f"Mesh {n}", key=key) for n, key in enumerate(keys)]
    known = [
        parse(Authority(f"Mesh {child}", signer, key=key, clock=lambda: NOW).der)
        for child, key in enumerate(keys)
        for number, signer in enumerate(signers)
        if number != child
    ]
    visited: list[Sequence[Certificate]] = []
    upwards = PathFinder._upwards

    def counted(
        finder: PathFinder, path: tuple[Certificate, ...], served: Sequence[Certificate]
    ) -> Iterator[tuple[Certificate, ...]]:
        visited.append(path)
        return upwards(finder, path, served)

    monkeypatch.setattr(PathFinder, "_upwards", counted)
    root = made("2020-01-01", "Real Root")
    roots = [parse(root.der)]
    finder = PathFinder.of(roots, lambda s: [c for c in known if c.subject_key == s])
    leaf = parse(signers[0].issue("shop.example.test").der)
    # A million paths, and none of them leads to a root.
    assert finder.paths(leaf, []) == []
    assert len(visited) < 10 * MAX_STEPS
    # The search for the next leaf begins anew.
    leaf, served = chain(Authority("Issuer", root))
    assert len(finder.paths(leaf, served)) == 1
