"""CAA: the search (RFC 8659 3), who may issue (4), for which account and method (RFC 8657)."""

from __future__ import annotations

import pytest

from certmgr.checks.caa import CaaSet, find, parse_issue, permits
from certmgr.net.dns import DnsClient
from certmgr.net.dns_answers import DnsAnswer
from certmgr.net.dns_records import CaaRecord
from tests.campaign import UNREACHED
from tests.certmgr.net.server import serving

OURS = ("letsencrypt.org",)


ACCOUNT = "https://acme.example/acct/1"


def records(*texts: str) -> CaaSet:
    """Return a set of records, each given as ``flags tag value``."""
    fields = [t.split(" ", 2) for t in texts]
    return CaaSet("shop.example", tuple(CaaRecord(int(f), t, v) for f, t, v in fields), "found")


@pytest.mark.parametrize(
    ("given", "wildcard", "allowed"),
    [
        (("0 issue letsencrypt.org",), False, True),
        (("0 issue LetsEncrypt.ORG",), False, True),
        (("0 issue other.example", "0 issue letsencrypt.org"), False, True),
        (("0 issue other.example",), False, False),
        (("0 issue ;",), False, False),
        (("0 issue ",), False, False),
        (("0 issue ; ", "0 issue letsencrypt.org"), False, True),
        (("0 issue letsencrypt.org evil",), False, False),
        (("0 issue %%%%%",), False, False),
        (("0 issue letsencrypt.org; broken",), False, False),
        # issuewild applies to wildcards only, and replaces issue there.
        (("0 issuewild letsencrypt.org",), False, True),
        (("0 issuewild ;",), False, True),
        (("0 issuewild ;", "0 issue letsencrypt.org"), True, False),
        (("0 issuewild letsencrypt.org", "0 issue ;"), True, True),
        (("0 issue letsencrypt.org",), True, True),
        (("0 issue other.example",), True, False),
        # Records that restrict nothing.
        (("0 iodef mailto:x@shop.example",), False, True),
        (("0 unknown x",), False, True),
        (("128 issue letsencrypt.org",), False, True),
        (("128 iodef mailto:x@shop.example", "0 issue letsencrypt.org"), False, True),
        # An unknown critical record forbids every CA; a wrong flag leaves it undetermined.
        (("128 unknown x", "0 issue letsencrypt.org"), False, False),
        (("1 unknown x", "0 issue letsencrypt.org"), False, None),
        (("1 unknown x", "0 issue other.example"), False, False),
    ],
)
def test_records_decide_whether_our_ca_may_issue(
    given: tuple[str, ...], wildcard: bool, allowed: bool | None
) -> None:
    decided = permits(
        records(*given), OURS, wildcard=wildcard, account_uri=ACCOUNT, method="http-01"
    )
    assert decided.allowed is allowed
    assert decided.reason


@pytest.mark.parametrize(
    ("value", "account", "method", "allowed"),
    [
        (f"letsencrypt.org; accounturi={ACCOUNT}", ACCOUNT, "http-01", True),
        (f"letsencrypt.org; accounturi={ACCOUNT}", f"{ACCOUNT}0", "http-01", False),
        (f"letsencrypt.org; accounturi={ACCOUNT}", None, "http-01", None),
        (f"letsencrypt.org; accounturi={ACCOUNT}; accounturi={ACCOUNT}", ACCOUNT, "http-01", False),
        ("letsencrypt.org;validationmethods=dns-01,http-01", ACCOUNT, "http-01", True),
        ("letsencrypt.org;validationmethods=dns-01", ACCOUNT, "http-01", False),
        ("letsencrypt.org;validationmethods=dns-01", ACCOUNT, None, None),
        (
            f"letsencrypt.org ; validationmethods=dns-01 ; accounturi={ACCOUNT}",
            ACCOUNT,
            "dns-01",
            True,
        ),
        (
            f"letsencrypt.org; ValidationMethods=dns-01; accounturi={ACCOUNT}",
            None,
            "http-01",
            False,
        ),
    ],
)
def test_parameters_restrict_account_and_method(
    value: str, account: str | None, method: str | None, allowed: bool | None
) -> None:
    decided = permits(records(f"0 issue {value}"), OURS, account_uri=account, method=method)
    assert decided.allowed is allowed
    assert decided.record.startswith("shop.example CAA 0 issue")


def test_second_record_may_allow_our_account() -> None:
    given = records(
        "0 issue letsencrypt.org; accounturi=https://other.example/2",
        f"0 issue letsencrypt.org; accounturi={ACCOUNT}",
    )
    assert permits(given, OURS, account_uri=ACCOUNT).allowed is True


def test_ca_may_have_several_names() -> None:
    assert (
        permits(records("0 issue amazontrust.com"), ("amazon.com", "amazontrust.com.")).allowed
        is True
    )


@pytest.mark.parametrize(
    ("name", "found_at", "questions"),
    [
        ("shop.example", "shop.example", 1),
        ("a.b.shop.example", "shop.example", 3),
        ("*.shop.example", "shop.example", 1),
        ("alias.example", "alias.example", 1),
        ("www.other.example", "", 3),
    ],
)
def test_search_ends_at_the_first_name_with_records(
    name: str, found_at: str, questions: int
) -> None:
    zone = {
        ("shop.example", "CAA"): ['0 issue "letsencrypt.org"'],
        ("alias.example", "CNAME"): ["target.shop.example."],
        ("target.shop.example", "CAA"): ['0 issue "other.example"'],
    }
    with serving(zone) as server:
        result = find(DnsClient((server.address,), timeout=UNREACHED).ask, name)
    assert (result.found_at, result.status) == (found_at, "found" if found_at else "none")
    assert len(server.asked) == questions
    if name == "alias.example":
        assert result.records == (CaaRecord(0, "issue", "other.example"),)


@pytest.mark.parametrize("broken", ["www.shop.example", "shop.example"])
def test_failed_query_gives_undetermined(broken: str) -> None:
    """A name above allows it, but the failing one below might not."""
    with serving(
        {(broken, "CAA"): "SERVFAIL", ("example", "CAA"): ['0 issue "letsencrypt.org"']}
    ) as server:
        result = find(
            DnsClient((server.address,), timeout=UNREACHED, tries=1).ask, "www.shop.example"
        )
    decided = permits(result, OURS)
    assert decided.allowed is None
    assert broken in decided.reason


def test_ip_address_has_no_caa() -> None:
    def never(name: str, kind: str) -> DnsAnswer:
        raise AssertionError("a query was sent")

    assert permits(find(never, "192.0.2.1"), OURS).allowed is True


def test_hostile_record_is_made_printable() -> None:
    decided = permits(records("0 issue evil.example; accounturi=\x1b[31m"), OURS)
    assert "\x1b" not in decided.reason + decided.record


def test_value_is_parsed_by_its_grammar() -> None:
    assert parse_issue("ca.example; a=1; b = 2") == ("ca.example", (("a", "1"), ("b", "2")))
    assert parse_issue("ca.example;") == ("ca.example", ())
    assert parse_issue("ca_example") == ("", ())
