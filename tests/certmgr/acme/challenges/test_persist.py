"""The record of dns-persist-01."""

from __future__ import annotations

import re

import pytest

from certmgr.acme.challenges.persist import (
    PersistRecord,
    PersistState,
    account_uri,
    issuer_names,
    judge,
    letter,
)
from certmgr.acme.challenges.persisted import check
from certmgr.net.dns import DnsClient
from inventory.clock import Clock
from inventory.errors import CertmgrError
from notifiers.wording.catalogue import language
from tests.campaign import UNREACHED
from tests.certmgr.net.server import serving

THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
PREFIX, URL = "https://ca.example/account-hash/", "https://ca.example/acct/123"
HASHED = f"{PREFIX}sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"
NOW, DAY = 1_800_000_000, 86_400
RECORD = PersistRecord("example.com", ("authority.example", "second.example"), HASHED)
WILD = PersistRecord("example.com", ("authority.example",), HASHED, wildcard=True)
RIGHT = f"authority.example; accounturi={HASHED}"


def test_account_is_hashed_as_in_the_example_of_the_draft() -> None:
    assert account_uri(PREFIX, "example.com", THUMBPRINT, URL) == HASHED
    assert account_uri(PREFIX, "other.example", THUMBPRINT, URL) != HASHED
    assert account_uri(None, "example.com", THUMBPRINT, URL) == URL, "an earlier draft"


@pytest.mark.parametrize("prefix", ["", "relative/", "http://ca.example/", "https://a/;b=", 5])
def test_prefix_that_would_change_the_record_is_refused(prefix: object) -> None:
    with pytest.raises(CertmgrError, match="accountHashPrefix"):
        account_uri(prefix, "example.com", THUMBPRINT, URL)


@pytest.mark.parametrize(
    "names",
    [None, [], ["UPPER.example"], ["a.example."], ["x; y"], ["a.b"] * 11, [1]],
)
def test_malformed_issuer_names_are_refused(names: object) -> None:
    with pytest.raises(CertmgrError, match="issuerDomainNames"):
        issuer_names(names)


@pytest.mark.parametrize(
    ("record", "values", "state"),
    [
        (RECORD, [RIGHT], PersistState.VALID),
        (RECORD, ["v=spf1 -all", f"other.example; accounturi={URL}", RIGHT], PersistState.VALID),
        (RECORD, [f"SECOND.example;accounturi={HASHED};future=1"], PersistState.VALID),
        (RECORD, [f"{RIGHT}; persistUntil={NOW + 90 * DAY}"], PersistState.VALID),
        (RECORD, [f"{RIGHT}; persistUntil={NOW + DAY}"], PersistState.ENDS_SOON),
        (RECORD, [f"{RIGHT}; persistUntil={NOW + DAY}", RIGHT], PersistState.VALID),
        (RECORD, [f"{RIGHT}; persistUntil={NOW}"], PersistState.EXPIRED),
        (RECORD, [f"{RIGHT}; persistUntil=soon"], PersistState.MISSING),
        (RECORD, [f"{RIGHT}; accounturi={HASHED}"], PersistState.MISSING),
        (RECORD, [f"authority.example; accounturi={URL}"], PersistState.OTHER_ACCOUNT),
        (RECORD, [f"authority.example; accounturi={HASHED.lower()}"], PersistState.OTHER_ACCOUNT),
        (RECORD, ["authority.example"], PersistState.OTHER_ACCOUNT),
        (RECORD, [], PersistState.MISSING),
        (RECORD, [f"third.example; accounturi={HASHED}"], PersistState.MISSING),
        (WILD, [RIGHT], PersistState.NO_WILDCARD),
        (WILD, [f"{RIGHT}; policy=WildCard"], PersistState.VALID),
        (WILD, [f"{RIGHT}; policy=specific"], PersistState.NO_WILDCARD),
    ],
)
def test_records_are_judged_as_a_ca_does(
    record: PersistRecord, values: list[str], state: PersistState
) -> None:
    assert judge(record, values, NOW, 30 * DAY).state is state


def test_letter_has_the_records_and_their_end() -> None:
    record = PersistRecord("example.com", ("authority.example",), HASHED, True, NOW)
    text = letter([record], "Example CA", "Provider Ltd", language("en"))
    assert record.zone_line in text and "Example CA" in text and "2027-01-15" in text
    assert "policy=wildcard; persistUntil=1800000000" in record.zone_line
    long = PersistRecord("example.com", ("authority.example",), f"{PREFIX}{'a' * 400}")
    assert '" "' in long.zone_line and max(map(len, long.zone_line.split('"'))) == 255


def test_letter_is_in_the_language_of_the_client_and_keeps_the_records() -> None:
    record = PersistRecord("xn--mller-kva.example", ("authority.example",), HASHED)
    text = letter([record], "Example CA", "", language("de-AT"))
    assert text.startswith("Betreff: DNS-Einträge für die Zertifikate von müller.example\n")
    assert f"\n    {record.zone_line}\n" in text and "Ihr Hosting-Anbieter" in text
    # Nothing is left in English.
    assert not {"Please", "The ", "You ", "Your"} & set(re.findall(r"Please|The |You |Your", text))
    assert "policy=wildcard" not in text


@pytest.mark.parametrize(
    ("second", "state"),
    [
        ({("_validation-persist.example.com", "TXT"): [f'"{RIGHT}"']}, PersistState.VALID),
        ({("example.com", "A"): ["192.0.2.1"]}, PersistState.MISSING),
        ({("_validation-persist.example.com", "TXT"): "SERVFAIL"}, PersistState.VALID),
    ],
)
def test_worst_definite_answer_of_the_resolvers_counts(
    clock: Clock, second: dict[tuple[str, str], list[str] | str], state: PersistState
) -> None:
    with (
        serving({("_validation-persist.example.com", "TXT"): [f'"{RIGHT}"']}) as first,
        serving(second) as other,
    ):
        client = DnsClient((first.address, other.address), timeout=UNREACHED, tries=1)
        verdict = check(client, RECORD, clock)
    assert verdict.state is state
    if state is PersistState.MISSING:
        assert f"at the resolver {other.address}" in verdict.reason


def test_silence_of_all_servers_is_undetermined(clock: Clock) -> None:
    with serving({("_validation-persist.example.com", "TXT"): "SERVFAIL"}) as server:
        verdict = check(DnsClient((server.address,), timeout=UNREACHED, tries=1), RECORD, clock)
    assert verdict.state is PersistState.UNKNOWN
