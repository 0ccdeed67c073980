"""What a CA changes between two renewals: its URLs, profiles, documents and renewal information."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from certmgr.acme.accounts.account_binding import hmac_key
from certmgr.acme.accounts.account_move import move
from certmgr.acme.accounts.accounts import AccountRequest, add
from certmgr.acme.challenges.interface import account_label
from certmgr.acme.protocol.problems import AcmeError
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.acme.results import IssueState
from certmgr.config.acme import SolverSettings
from inventory.errors import Conflict, UsageError
from inventory.store import accounts, lineages
from tests.certmgr.acme.strange_ca import Fault, Reply, document, problem
from tests.certmgr.acme.strange_shop import NAME, Shop
from tests.servers.bind import Named


def moved(status: int, url: str) -> Reply:
    return status, {"Location": url}, b""


def meta(**values: Any) -> Callable[[Reply], Reply]:
    """Return the directory with changes to its metadata."""
    return lambda usual: (*usual[:2], {**usual[2], "meta": {**usual[2]["meta"], **values}})


@pytest.mark.parametrize(
    "faults",
    [
        {"dir": [moved(301, "/dir")]},
        {"newNonce": [moved(302, "/newNonce")]},
        {"newOrder": [moved(308, "/newOrder")]},
        {"order": [moved(302, "/order/1")], "certificate": [moved(307, "/certificate/1")]},
    ],
    ids=["directory", "nonces", "new order", "order and certificate"],
)
def test_redirects_of_a_ca_that_moved_are_followed(
    shop: Shop, faults: dict[str, list[Fault | None]]
) -> None:
    assert shop.order(**faults).state is IssueState.ISSUED
    assert shop.placed == 1


@pytest.mark.parametrize("target", ["/newOrder", "http://127.0.0.1/newOrder", "https://"])
def test_redirects_without_end_or_to_an_invalid_url_are_a_failure(shop: Shop, target: str) -> None:
    shop.ca.lasting = {"newOrder": moved(307, target)}
    result = shop.order()
    assert result.state is IssueState.FAILED and shop.placed == 0
    assert "redirects" in result.message or "invalid URL" in result.message


@pytest.mark.parametrize("answer", [(404, {}, b"gone"), (200, {}, b"<html>moved</html>")])
def test_directory_that_is_gone_is_replaced_by_account_edit(shop: Shop, answer: Reply) -> None:
    shop.ca.faults = {"dir": [answer]}
    result = shop.order()
    assert result.state is IssueState.FAILED
    assert "certmgr account edit NAME --directory URL" in result.message
    new = shop.ca.directory.replace("/dir", "/dir/v2")
    shop.ca.faults = {"dir": [None]}
    with pytest.raises(AcmeError, match="Check the URL of the directory"):
        move(shop.env.context, "main", new + "/missing")
    shop.ca.faults = {"newAccount": [problem("accountDoesNotExist")]}
    with pytest.raises(UsageError, match="does not know the account 'main'"):
        move(shop.env.context, "main", shop.ca.directory)
    with pytest.raises(UsageError, match="is not a directory URL"):
        move(shop.env.context, "main", "http://ca.example/dir")
    other = shop.ca.directory.replace("127.0.0.1", "localhost")
    row = move(shop.env.context, "main", other)
    assert row.directory == other and row.state == "active" and row.ca == "test"
    shop.until_issued()


def test_account_that_was_never_registered_does_not_move(shop: Shop) -> None:
    with shop.env.database.write() as tx:
        accounts.edit(tx, accounts.find(tx.conn, "main").id, state="pending")
    with pytest.raises(Conflict, match="is pending"):
        move(shop.env.context, "main", shop.ca.directory)


def choose_profile(shop: Shop, name: str) -> None:
    with shop.env.database.write() as tx:
        lineages.edit(tx, shop.lineage, profile=name)


def test_profile_that_the_ca_withdrew_costs_no_renewal(shop: Shop) -> None:
    choose_profile(shop, "short")
    shop.ca.lasting = {"dir": meta(profiles={"short": "s", "classic": "c"})}
    assert shop.order().state is IssueState.ISSUED
    shop.ca.lasting = {"dir": meta(profiles={"classic": "c"})}
    assert shop.order().state is IssueState.ISSUED
    assert [p.get("profile") for _, p in shop.ca.orders] == ["short", None]
    assert "the profile 'short' any more" in (shop.env.row(shop.lineage).error or "")


@pytest.mark.parametrize(
    "refusal",
    [
        problem("invalidProfile", "no longer for this account"),
        problem("malformed", "unrecognized profile", 400),
    ],
)
def test_profile_that_is_refused_only_with_the_order_costs_no_renewal(
    shop: Shop, refusal: Reply
) -> None:
    choose_profile(shop, "short")
    shop.ca.lasting = {"dir": meta(profiles={"short": "s"})}
    assert shop.order().state is IssueState.ISSUED
    assert shop.order(newOrder=[refusal]).state is IssueState.ISSUED
    # ``replaces`` is kept: the profile was the reason.
    assert [p.get("profile") for _, p in shop.ca.orders] == ["short", None]


def test_profile_of_a_first_order_is_required(shop: Shop) -> None:
    choose_profile(shop, "shrot")
    shop.ca.lasting = {"dir": meta(profiles={"short": "s"})}
    result = shop.order()
    assert result.state is IssueState.FAILED and "it offers short" in result.message
    choose_profile(shop, "short")
    result = shop.order(newOrder=[problem("invalidProfile", "closed")])
    assert result.state is IssueState.FAILED and "account show NAME --ask" in result.message
    assert shop.placed == 0


@pytest.mark.parametrize("value", [["classic"], "classic", None, 7])
def test_metadata_of_another_form_is_not_used(shop: Shop, value: Any) -> None:
    shop.ca.lasting = {"dir": meta(profiles=value, caaIdentities=value)}
    assert shop.order().state is IssueState.ISSUED


def challenges(*others: dict[str, Any]) -> Callable[[Reply], Reply]:
    """Return the authorization with further challenges before the usual one."""
    return lambda usual: (
        *usual[:2],
        {**usual[2], "challenges": [*others, *usual[2]["challenges"]]},
    )


ODD_DOCUMENTS: dict[str, dict[str, Fault]] = {
    "dates": {"order": document(expires="never"), "authz": document(expires=17)},
    "unknown fields": {"order": document(notAfter=[], x={"a": 1}), "authz": document(wildcard="")},
    "identifiers": {"order": document(identifiers=[{"type": "onion", "value": "x"}, None])},
    "null": {"order": document(error=None), "authz": document(wildcard=None, expires=None)},
    "unknown challenge": {"authz": challenges({"type": "new-01", "status": "odd"}, {"type": 3})},
    "challenge without token": {"authz": challenges({"type": "tls-alpn-01", "url": "https://x/"})},
    "dns-account-01": {
        "authz": challenges({"type": "dns-account-01", "url": "https://x/", "token": "a" * 43})
    },
    "content type": {"order": lambda usual: (200, {"Content-Type": "text/html"}, usual[2])},
    "relative location": {"newOrder": lambda usual: (201, {"Location": "order/1"}, usual[2])},
}


@pytest.mark.parametrize("odd", ODD_DOCUMENTS.values(), ids=ODD_DOCUMENTS)
def test_field_that_nothing_needs_costs_no_order(shop: Shop, odd: dict[str, Fault]) -> None:
    shop.ca.lasting = odd
    result = shop.order()
    assert result.state is IssueState.ISSUED and shop.placed == 1, result


def test_validations_that_exist_already_are_used(shop: Shop) -> None:
    """The CA reuses authorizations: the order is ready at once, or its names are valid."""
    shop.ca.faults = {"order": [document(status="ready"), None]}
    assert shop.order().state is IssueState.ISSUED
    assert "challenge" not in shop.ca.asked


@pytest.mark.parametrize(
    ("detail", "ended"),
    [
        ("account status: revoked", True),
        ("The account has been suspended", True),
        ("disabled account", True),
        ("this account may not order; the certificate is revoked", False),
    ],
)
def test_account_that_the_ca_ended_is_not_used_again(shop: Shop, detail: str, ended: bool) -> None:
    shop.order(newOrder=[problem("unauthorized", detail, 403)])
    with shop.env.database.read() as conn:
        assert (accounts.find(conn, "main").state == "lost") is ended


def test_text_of_a_web_server_ends_no_account(shop: Shop) -> None:
    """The problem of a challenge quotes what the name served."""
    error = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": "account is deactivated"}

    def failed(usual: Reply) -> Reply:
        challenge = {**usual[2]["challenges"][0], "status": "invalid", "error": error}
        return 200, {}, {**usual[2], "status": "invalid", "challenges": [challenge]}

    result = shop.order(authz=[None, failed])
    assert "could not validate control of the name" in result.message
    with shop.env.database.read() as conn:
        assert accounts.find(conn, "main").state == "active"


@pytest.mark.parametrize(
    ("header", "days"),
    [("999999999999", 1), ("Wed, 21 Oct 2099 07:28:00 GMT", 1), ("-5", 0), ("1.5", 0), ("5, 5", 0)],
)
def test_unavailable_ca_is_tried_again_within_a_day(shop: Shop, header: str, days: int) -> None:
    busy = (503, {"Content-Type": "text/html", "Retry-After": header}, b"<html>busy</html>")
    shop.order(newOrder=[busy])
    next_at = shop.env.row(shop.lineage).next_at
    assert next_at is not None
    assert (next_at - shop.clock().timestamp()) // 86_400 == days
    assert shop.until_issued() == [IssueState.WAITS, IssueState.ISSUED]


def test_label_of_an_account_is_that_of_the_draft() -> None:
    """The example of draft-ietf-acme-dns-account-label, section 3.2."""
    label = account_label("https://example.com/acme/acct/ExampleAccount")
    assert label == "_ujmmovf2vn55tgye"


@pytest.mark.parametrize("offers_both", [False, True])
def test_dns_account_01_is_answered_if_the_ca_offers_no_dns_01(
    shop: Shop, bind: Named, monkeypatch: pytest.MonkeyPatch, offers_both: bool
) -> None:
    monkeypatch.setenv("TSIG_SECRET", bind.secret)
    solver = SolverSettings(
        kind="rfc2136",
        server=bind.server,
        zone="shop.test",
        tsig_name=bind.key_name,
        tsig_secret="env:TSIG_SECRET",
        tsig_algorithm=bind.algorithm,
        propagation=0.0,
    )
    shop.env.solve(dns=solver)
    scan = replace(shop.env.settings.scan, resolvers=(bind.resolver,))
    shop.env.settings = replace(shop.env.settings, scan=scan)
    with shop.env.database.write() as tx:
        lineages.edit(tx, shop.lineage, solver="dns")
        account = accounts.find(tx.conn, "main").url
    kinds = ("dns-account-01", "dns-01") if offers_both else ("dns-account-01",)
    label = "" if offers_both else f"{account_label(str(account))}."
    record = f"{label}_acme-challenge.{NAME}"
    published: list[list[str]] = []

    def offered(usual: Reply) -> Reply:
        (usual_challenge,) = usual[2]["challenges"]
        return (
            *usual[:2],
            {**usual[2], "challenges": [usual_challenge | {"type": k} for k in kinds]},
        )

    def validated(usual: Reply) -> Reply:
        published.append(bind.txt(record))
        return usual

    shop.ca.lasting = {"authz": offered, "challenge": validated}
    result = shop.order()
    assert result.state is IssueState.ISSUED, result
    assert [len(values) for values in published] == [1] and bind.txt(record) == []


@pytest.mark.parametrize("count", [1, 300])
def test_alternate_chains_that_loop_or_are_many_are_bounded(shop: Shop, count: int) -> None:
    with shop.env.database.write() as tx:
        lineages.edit(tx, shop.lineage, preferred_chain="Another Root")

    def linked(usual: Reply) -> Reply:
        urls = ["/certificate/1", *(f"/other/{i}" for i in range(count))]
        link = ", ".join(f'<{url}>; rel="alternate"' for url in urls)
        return 200, {**usual[1], "Link": link}, usual[2]

    shop.ca.lasting = {"certificate": linked, "other": problem("serverInternal", "", 500)}
    assert shop.order().state is IssueState.ISSUED
    assert shop.ca.asked.count("certificate") == 1 and shop.ca.asked.count("other") <= 5
    assert "offers no chain to 'Another Root'" in (shop.env.row(shop.lineage).error or "")


def window(start: str, end: str) -> Reply:
    return 200, {}, {"suggestedWindow": {"start": start, "end": end}, "explanationURL": "https://x"}


ARI_ANSWERS: dict[str, Reply] = {
    "404": problem("malformed", "", 404),
    "page": (200, {"Content-Type": "text/html"}, b"<html>"),
    "far future": window("2099-01-01T00:00:00Z", "2099-01-02T00:00:00Z"),
    "inverted": window("2027-03-02T00:00:00Z", "2027-02-01T00:00:00Z"),
    "no object": (200, {}, [1]),
}


@pytest.mark.parametrize("answer", ARI_ANSWERS.values(), ids=ARI_ANSWERS)
def test_unusable_renewal_information_leaves_the_usual_time(shop: Shop, answer: Reply) -> None:
    shop.ca.lasting = {"ari": answer}
    assert _days_of_orders(shop, (0, 1, 59, 60, 61)) == [0, 60]


def test_window_in_the_past_renews_once_and_not_with_each_run(shop: Shop) -> None:
    """The CA sends the same window for each certificate, also for a new one."""
    shop.ca.lasting = {"ari": window("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")}
    assert _days_of_orders(shop, (0, 1, 2, 3, 30, 32)) == [0, 1, 32]


def _days_of_orders(shop: Shop, days: tuple[int, ...]) -> list[int]:
    """Run on the given days, and return those on which an order was placed."""
    begin, found = shop.clock(), []
    for day in days:
        shop.clock.now = begin
        shop.clock.advance(days=day)
        placed = shop.placed
        RenewalRunner(shop.env.context).run_due()
        found += [day] * (shop.placed - placed)
    return found


KEY = bytes(range(200, 232))


@pytest.mark.parametrize(
    "text",
    [
        urlsafe_b64encode(KEY).decode(),
        urlsafe_b64encode(KEY).decode().rstrip("="),
        b64encode(KEY).decode(),
        b64encode(KEY).decode().rstrip("="),
        f' "{b64encode(KEY).decode()}"\r\n',
        f"{b64encode(KEY).decode()[:20]}\n{b64encode(KEY).decode()[20:]}",
    ],
    ids=["url-safe", "url-safe unpadded", "standard", "unpadded", "quoted", "two lines"],
)
def test_binding_key_is_read_in_each_form_of_cas(text: str) -> None:
    assert hmac_key(text) == urlsafe_b64encode(KEY).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "base64url or base64"),
        ("kid_1.of-the-ca", "base64url or base64"),
        ("a" * 41, "a character is missing"),
        (b64encode(KEY[:12]).decode(), "it has 12 bytes"),
    ],
)
def test_binding_key_that_is_none_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        hmac_key(text)


@pytest.mark.parametrize("kind", ["unauthorized", "malformed", "externalAccountRequired"])
def test_binding_that_the_ca_refuses_names_the_next_step(shop: Shop, kind: str) -> None:
    """CAs report a used, expired or wrong pair with different types."""
    shop.ca.faults = {"newAccount": [problem(kind, "EAB key was used already", 403)]}
    with pytest.raises(AcmeError, match="get a new pair if this one was used"):
        _bind(shop, eab_kid="kid", eab_key=b64encode(KEY).decode())
    # The same command completes the account with the next pair.
    assert _bind(shop, eab_kid="kid2", eab_key=b64encode(KEY).decode()).eab_kid == "kid2"


def test_binding_that_only_the_refusal_requires_is_asked_for(shop: Shop) -> None:
    required = problem("externalAccountRequired", "bind first", 403)
    shop.ca.faults = {"newAccount": [required]}
    with pytest.raises(AcmeError, match="then give --eab-kid ID"):
        _bind(shop)
    result = shop.order(newOrder=[required])
    assert result.state is IssueState.FAILED and "certmgr account add CA" in result.message
    assert NAME in shop.env.row(shop.lineage).name


def _bind(shop: Shop, **given: Any) -> Any:
    return add(shop.env.context, AccountRequest("test", "bound", agree=True, **given))
