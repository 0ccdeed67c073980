"""An address outside the provider's networks among addresses inside is one finding of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from certmgr.checks.deployment import ServedCertificate
from certmgr.checks.foreign_address import folded, foreign_addresses
from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority, self_signed
from certmgr.demo.servers import Server, server_context
from certmgr.net.addresses import networks
from certmgr.scan.evidence import AddressEvidence, Evidence, Failure, FailureKind, Resolution
from certmgr.x509.trust import TrustStore
from inventory.certificates import parse
from inventory.targets import Target
from inventory.vocabulary import FOREIGN_ADDRESS, Finding, Parties
from notifiers.wording.sentences import instruction
from tests.campaign import UNREACHED, time_limits
from tests.certmgr.tls_servers import HOST, Probe, Stack
from tests.clock import clock

OURS, FOREIGN = "127.0.0.1", "127.0.0.2"
HOSTED = Parties(hosts="us", dns="client", buys="client", on_our_server=True)


def _expired(issuer: Authority) -> servers.ConnectionHandler:
    now = clock()
    old = issuer.issue(HOST, not_before=now - timedelta(days=90), not_after=now - timedelta(days=9))
    return servers.tls(server_context(old))


SERVED: dict[str, tuple[Callable[[Authority], servers.ConnectionHandler | None], str]] = {
    "expired": (_expired, "critical"),
    "wrong name": (
        lambda issuer: servers.tls(server_context(issuer.issue("old-host.test"))),
        "critical",
    ),
    "self-signed": (
        lambda issuer: servers.tls(server_context(self_signed(HOST, clock=clock))),
        "critical",
    ),
    "no TLS": (lambda issuer: servers.respond_with(b"HTTP/1.1 400 x\r\n\r\n"), "critical"),
    "silent": (lambda issuer: servers.silent, "high"),
    "nothing": (lambda issuer: None, "high"),
    "another valid certificate": (
        lambda issuer: servers.tls(server_context(issuer.issue(HOST, days=50))),
        "medium",
    ),
}


@pytest.mark.parametrize("served", SERVED)
@pytest.mark.parametrize("foreign", [FOREIGN, "::1"])
def test_whatever_a_foreign_address_serves_there_is_one_finding_that_names_it(
    probe: Probe,
    settings: Settings,
    issuer: Authority,
    opened: Stack,
    served: str,
    foreign: str,
) -> None:
    talk, severity = SERVED[served]
    good = issuer.issue(HOST, days=80)
    ours = Server(servers.tls(server_context(good)), address=OURS)
    opened.callback(ours.close)
    if (handler := talk(issuer)) is not None:
        other = Server(handler, address=foreign, port=ours.port)
        opened.callback(other.close)
    chosen = replace(settings, network=NetworkSettings(provider=(f"{OURS}/32",)))
    for limit in time_limits(1.0) if served == "silent" else [UNREACHED]:
        result = probe(f"{HOST}:{ours.port}", at=(OURS, foreign), changes=chosen, timeout=limit)
        if result.report.good:  # ours answered within the limit
            break
    found = result.codes.pop(FOREIGN_ADDRESS)
    assert [f.code for f in result.report.findings] == [FOREIGN_ADDRESS]
    assert (found.severity, found.addresses) == (severity, (foreign,))
    assert found.evidence["kind"] == ("AAAA" if ":" in foreign else "A")
    # What is reported of the endpoint is what our server serves.
    report = result.report
    assert report.certificate is not None and report.certificate.sha256 == parse(good.der).sha256
    assert report.good and not report.undetermined and not report.silent


def test_address_with_the_certificate_of_our_server_is_for_staff(
    probe: Probe, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    """Only our servers have its key, so the configuration probably misses a network."""
    context = server_context(issuer.issue(HOST))
    ours = Server(servers.tls(context), address=OURS)
    other = Server(servers.tls(context), address=FOREIGN, port=ours.port)
    opened.callback(ours.close)
    opened.callback(other.close)
    chosen = replace(settings, network=NetworkSettings(provider=(f"{OURS}/32",)))
    result = probe(f"{HOST}:{ours.port}", at=(OURS, FOREIGN), changes=chosen)
    found = result.codes[FOREIGN_ADDRESS]
    assert (found.severity, found.actor) == ("medium", "staff")


def test_fault_of_an_address_with_our_certificate_is_not_hidden(issuer: Authority) -> None:
    """It is probably our server, so that its broken page is a fault and not a wrong record."""
    leaf = parse(issuer.issue(HOST, days=80).der)
    both = [ServedCertificate(a, leaf, True) for a in (OURS, FOREIGN)]
    broken = Finding("answer-invalid", "critical", (FOREIGN,))
    result = folded([broken], (FOREIGN,), both)
    assert [(f.code, f.severity) for f in result.findings] == [
        (FOREIGN_ADDRESS, "medium"),
        ("answer-invalid", "critical"),
    ]
    assert result.explained == ()


def _judged(issuer: Authority, context: JudgingContext, *addresses: str) -> dict[str, Finding]:
    """Judge a name of which only the first address answers."""
    now = clock()
    chain = (issuer.issue(HOST).der, issuer.der)
    refused = Failure("connect", FailureKind.REFUSED, "Connection refused")
    evidence = Evidence(
        Target(HOST),
        now,
        Resolution("ok", addresses),
        (
            AddressEvidence(addresses[0], chain, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
            *[AddressEvidence(a, failure=refused) for a in addresses[1:]],
        ),
    )
    assert issuer.parent is not None
    judge = Judge(TrustStore([parse(issuer.parent.der)]), parse)
    found = {f.code: f for f in judge.judge(evidence, context, now).findings}
    # The test CA has no log of Certificate Transparency.
    found.pop("sct-missing", None)
    return found


@pytest.mark.parametrize(
    ("dns", "actor", "outcome"),
    [("client", "client", "you-act"), ("us", "provider", None), (None, "staff", None)],
)
def test_party_that_runs_the_dns_deletes_the_record(
    issuer: Authority, dns: str | None, actor: str, outcome: str | None
) -> None:
    context = JudgingContext(replace(HOSTED, dns=dns), networks(["192.0.2.0/24"], "provider"))
    found = _judged(issuer, context, "192.0.2.1", "2001:db8::1")
    assert list(found) == [FOREIGN_ADDRESS]
    assert (found[FOREIGN_ADDRESS].actor, found[FOREIGN_ADDRESS].outcome) == (actor, outcome)


def test_without_networks_the_servers_of_the_inventory_decide(issuer: Authority) -> None:
    context = JudgingContext(HOSTED, servers=frozenset({"192.0.2.1", "192.0.2.2"}))
    found = _judged(issuer, context, "192.0.2.1", "198.51.100.7")
    assert found[FOREIGN_ADDRESS].addresses == ("198.51.100.7",)
    assert FOREIGN_ADDRESS not in _judged(issuer, context, "192.0.2.1", "192.0.2.2")
    assert FOREIGN_ADDRESS not in _judged(issuer, JudgingContext(HOSTED), "192.0.2.1", "::1")


def test_findings_of_our_own_addresses_stay(issuer: Authority) -> None:
    """A second server of ours that is down is not hidden by the foreign address."""
    context = JudgingContext(HOSTED, networks(["192.0.2.0/24"], "provider"))
    found = _judged(issuer, context, "192.0.2.1", "192.0.2.2", "198.51.100.7")
    assert found[FOREIGN_ADDRESS].addresses == ("198.51.100.7",)
    assert found["https-missing"].addresses == ("192.0.2.2",)


@pytest.mark.parametrize(
    ("parties", "foreign"),
    [
        (HOSTED, ("198.51.100.7",)),
        (Parties(), ("198.51.100.7",)),
        (None, ("198.51.100.7",)),
        (Parties(hosts="panel", on_our_server=True), ("198.51.100.7",)),
        (Parties(hosts="panel"), ()),
        (Parties(hosts="cdn"), ()),
        (Parties(hosts="client"), ()),
    ],
)
def test_cdn_or_client_that_hosts_the_site_may_use_other_addresses(
    parties: Parties | None, foreign: tuple[str, ...]
) -> None:
    ours = networks(["192.0.2.0/24"], "provider")
    evidence = Evidence(Target(HOST), clock(), Resolution("ok", ("192.0.2.1", "198.51.100.7")))
    assert foreign_addresses(evidence, ours, frozenset(), parties) == foreign


def test_name_with_foreign_addresses_only_points_elsewhere(issuer: Authority) -> None:
    context = JudgingContext(HOSTED, networks(["192.0.2.0/24"], "provider"))
    found = _judged(issuer, context, "198.51.100.7", "2001:db8::1")
    assert "points-elsewhere" in found and FOREIGN_ADDRESS not in found


def test_internal_address_in_the_dns_is_foreign_too(issuer: Authority) -> None:
    """It is not visited, and no visitor reaches it."""
    ours = networks(["192.0.2.0/24"], "provider")
    resolution = Resolution("ok", ("192.0.2.1",), refused=(("10.0.0.7", "private"),))
    evidence = Evidence(Target(HOST), clock(), resolution)
    assert foreign_addresses(evidence, ours, frozenset(), HOSTED) == ("10.0.0.7",)


OTHER, THIRD = "198.51.100.7", "2001:db8::7"


def _answers(issuer: Authority, **what: str) -> list[ServedCertificate]:
    """Return what addresses serve: ``own``, ``valid``, ``untrusted`` or nothing."""
    own = parse(issuer.issue(HOST, days=80).der)
    others = {
        "own": ServedCertificate("", own, True),
        "valid": ServedCertificate("", parse(issuer.issue(HOST, days=50).der), True),
        "untrusted": ServedCertificate("", parse(self_signed(HOST, clock=clock).der), False),
    }
    places = {"ours": OURS, "other": OTHER, "third": THIRD}
    return [
        replace(others[kind], address=places[place])
        for place, kind in what.items()
        if kind != "nothing"
    ]


@pytest.mark.parametrize(
    ("other", "third", "variant", "delete", "keep", "kind"),
    [
        ("nothing", "nothing", None, (OTHER, THIRD), (), "A/AAAA"),
        ("untrusted", "nothing", None, (OTHER, THIRD), (), "A/AAAA"),
        ("nothing", "own", "mixed", (OTHER,), (THIRD,), "A"),
        ("own", "untrusted", "mixed", (THIRD,), (OTHER,), "AAAA"),
        ("valid", "nothing", "mixed", (THIRD,), (OTHER,), "AAAA"),
        ("valid", "own", "valid", (), (), "A/AAAA"),
        ("valid", "valid", "valid", (), (), "A/AAAA"),
        ("own", "own", "same-certificate", (), (), "A/AAAA"),
    ],
)
def test_only_the_wrong_records_of_several_foreign_addresses_are_to_be_deleted(
    issuer: Authority,
    other: str,
    third: str,
    variant: str | None,
    delete: tuple[str, ...],
    keep: tuple[str, ...],
    kind: str,
) -> None:
    served = _answers(issuer, ours="own", other=other, third=third)
    places = {OTHER: other, THIRD: third}
    broken = [
        Finding("self-signed", "critical", (a,)) for a, k in places.items() if k == "untrusted"
    ]
    (found, *others) = folded(broken, (OTHER, THIRD), served).findings
    assert others == []
    assert found.addresses == (OTHER, THIRD)
    assert (found.evidence.get("variant"), found.evidence["kind"]) == (variant, kind)
    if variant == "mixed":
        assert (found.evidence["delete"], found.evidence["keep"]) == ([*delete], [*keep])
    assert (found.severity == "medium") == (not delete)
    text = instruction(found, Target(HOST))
    named = {a for a in (OTHER, THIRD) if f"Delete the {kind} record {a}" in text}
    assert named == set(delete[:1])
    for address in keep:
        assert f"Keep the record of {address}" in text


def test_fault_of_a_server_that_is_probably_ours_stays_next_to_a_wrong_record(
    issuer: Authority,
) -> None:
    served = _answers(issuer, ours="own", other="own")
    broken = [Finding("answer-invalid", "critical", (OTHER, THIRD))]
    found = folded(broken, (OTHER, THIRD), served)
    assert [(f.code, f.addresses) for f in found.findings] == [
        (FOREIGN_ADDRESS, (OTHER, THIRD)),
        ("answer-invalid", (OTHER,)),
    ]
    assert found.explained == (Finding("answer-invalid", "critical", (THIRD,)),)
