"""Certificates of six days for addresses, from CAs that write addresses in other forms."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.acme.protocol.problems import parse
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.acme.results import IssueState
from certmgr.config.settings import Settings
from inventory.db.database import from_epoch
from inventory.store import lineage_names
from tests.certmgr.acme.inprocess import running
from tests.certmgr.acme.renewal.test_year_of_a_fleet import Calendar, environment_at
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.certmgr.acme.strange_ca import Reply, StrangeCa, document, problem
from tests.certmgr.cases.place import PublicKey

FOUR, SIX = "192.0.2.10", "2001:db8::10"
LONG = "2001:0DB8:0000:0000:0000:0000:0000:0010"
LIFE = timedelta(hours=160)


@dataclass
class AddressCa(StrangeCa):
    """A CA that offers a profile of six days, and answers with identifiers as it likes.

    Attributes:
        spelled: Address -> how the CA writes it.
        kind: The type of its identifiers.
        profiles: Its profiles.
    """

    spelled: dict[str, str] = field(default_factory=dict)
    kind: str = "ip"
    profiles: tuple[str, ...] = ("classic", "shortlived")

    def _meta(self, base: str) -> dict[str, Any]:
        return {"profiles": dict.fromkeys(self.profiles, "a profile")}

    def identifier(self, value: str) -> dict[str, str]:
        return {"type": self.kind, "value": self.spelled.get(value, value)}

    def _usual(self, step: str, path: str, payload: Any, base: str) -> Reply:
        status, headers, body = super()._usual(step, path, payload, base)
        if step == "authz":
            body = {**body, "identifier": self.identifier(body["identifier"]["value"])}
        if isinstance(body, dict) and "identifiers" in body:
            named = [self.identifier(i["value"]) for i in reversed(body["identifiers"])]
            body = {**body, "identifiers": named}
        return status, headers, body


class AddressShop:
    """A client with two addresses, and an account at the CA. Waits move the clock."""

    def __init__(self, settings: Settings, folder: Path, opened: ExitStack) -> None:
        self.clock = Calendar()
        self.ca = AddressCa(self.clock, LIFE, ari=False, validated_by_http=True)
        opened.enter_context(running(self.ca, folder / "ca"))
        self.env: AcmeEnvironment = environment_at(settings, folder, self.ca, self.clock, opened)
        self.env.given = {"wait": lambda seconds: self.clock.advance(seconds=seconds)}
        self.env.client("1001", FOUR, SIX)
        self.env.unwatch(FOUR, SIX)

    def lineage(self, **values: Any) -> int:
        return self.env.lineage("1001", [FOUR, SIX], name="addresses", **values)


@pytest.fixture
def addresses(settings: Settings, tmp_path: Path, opened: ExitStack) -> AddressShop:
    return AddressShop(settings, tmp_path, opened)


@pytest.mark.parametrize("kind", ["ip", "dns"])
@pytest.mark.parametrize("written", [SIX, LONG, SIX.upper(), f"[{SIX}]", f"{SIX}."])
def test_addresses_are_ordered_with_the_profile_of_six_days(
    addresses: AddressShop, written: str, kind: str
) -> None:
    addresses.ca.spelled, addresses.ca.kind = {SIX: written}, kind
    result = addresses.env.order(addresses.lineage())
    assert result.state is IssueState.ISSUED, result
    ((_, payload),) = addresses.ca.orders
    assert payload["profile"] == "shortlived"
    assert payload["identifiers"] == [{"type": "ip", "value": v} for v in (FOUR, SIX)]


def test_chosen_profile_and_ca_without_the_usual_one_are_followed(addresses: AddressShop) -> None:
    addresses.ca.profiles = ("classic", "ip-6d")
    first = addresses.env.order(addresses.lineage(profile="ip-6d"))
    second = addresses.env.order(addresses.env.lineage("1001", [FOUR], name="other"))
    assert first.state is second.state is IssueState.ISSUED, (first, second)
    assert [p.get("profile") for _, p in addresses.ca.orders] == ["ip-6d", None]


def test_order_whose_answer_was_lost_is_found_in_each_spelling(addresses: AddressShop) -> None:
    ca = addresses.ca
    ca.spelled, ca.kind = {SIX: LONG}, "dns"

    def lost(usual: Reply) -> Reply:
        url = usual[1]["Location"]
        base = url.rpartition("/order/")[0]
        ca.lasting["account"] = (200, {}, {"status": "valid", "orders": f"{base}/list"})
        ca.lasting["list"] = (200, {}, {"orders": [url]})
        return 503, {"Content-Type": "text/html"}, b"busy"

    ca.faults["newOrder"] = [lost]
    lineage = addresses.lineage()
    states = [addresses.env.order(lineage).state]
    next_at = from_epoch(addresses.env.row(lineage).next_at)
    assert next_at is not None
    addresses.clock.now = next_at
    states.append(addresses.env.order(lineage).state)
    assert states == [IssueState.FAILED, IssueState.ISSUED] and len(ca.orders) == 1


def test_failure_of_an_address_in_another_spelling_counts_for_its_name(
    addresses: AddressShop,
) -> None:
    addresses.ca.spelled = {SIX: LONG}
    lineage = addresses.lineage()
    refused = document(status="invalid", challenges=[])
    addresses.ca.faults["authz"] = [None, refused]
    result = addresses.env.order(lineage)
    assert result.state is IssueState.FAILED
    with addresses.env.database.read() as conn:
        rows = lineage_names.by_lineage(conn, [lineage])[lineage]
    assert {r.name: r.failures for r in rows} == {FOUR: 0, SIX: 1}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (problem("unsupportedIdentifier", "ip is not supported"), "not support"),
        (problem("rejectedIdentifier", "no addresses", 403), "no addresses"),
    ],
)
def test_ca_that_takes_no_addresses_is_named_with_its_reason(
    addresses: AddressShop, answer: Reply, words: str
) -> None:
    addresses.ca.faults["newOrder"] = [answer]
    result = addresses.env.order(addresses.lineage())
    assert result.state is IssueState.FAILED and words in result.message


def test_problem_names_an_address_as_the_order_does() -> None:
    inner = {"type": "rejectedIdentifier", "identifier": {"type": "ip", "value": LONG}}
    found = parse({"type": "malformed", "subproblems": [inner]})
    assert list(found.names()) == [SIX]


def test_certificate_with_addresses_as_dns_names_is_refused(addresses: AddressShop) -> None:
    """No browser accepts it (RFC 9525 6.5)."""
    ca = addresses.ca

    def as_names(usual: Reply) -> Reply:
        issued = x509.load_pem_x509_certificates(usual[2])
        changed = _with_dns_names(ca, issued[0])
        chain = changed.public_bytes(Encoding.PEM) + issued[1].public_bytes(Encoding.PEM)
        return usual[0], usual[1], chain

    ca.lasting["certificate"] = as_names
    result = addresses.env.order(addresses.lineage())
    assert result.state is IssueState.FAILED
    assert f"it lacks {FOUR}, {SIX}" in result.message


def _with_dns_names(ca: AddressCa, leaf: x509.Certificate) -> x509.Certificate:
    """Return the certificate with its addresses as DNS names."""
    names = x509.SubjectAlternativeName([x509.DNSName(FOUR), x509.DNSName(SIX)])
    return ca.issuer.issue(
        FOUR,
        san=False,
        key=PublicKey(leaf.public_key()),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        extensions=[(names, False)],
    ).certificate


def test_certificates_for_addresses_are_renewed_at_half_of_their_life(
    addresses: AddressShop,
) -> None:
    lineage = addresses.lineage()
    for _ in range(7):
        assert RenewalRunner(addresses.env.context).run_due().failed == 0
        end = from_epoch(addresses.env.row(lineage).not_after)
        assert end is not None and end - addresses.clock() > LIFE / 3
        addresses.clock.advance(hours=40)
    ordered = [at for at, _ in addresses.ca.orders]
    between = [later - earlier for earlier, later in pairwise(ordered)]
    assert between == [timedelta(hours=80)] * 3
    assert {p["profile"] for _, p in addresses.ca.orders} == {"shortlived"}
