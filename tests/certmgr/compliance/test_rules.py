"""Each rule: on values at its boundaries, and with nginx and real pages."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from OpenSSL import SSL

from certmgr.compliance import rules
from certmgr.compliance.assessment import judge
from certmgr.compliance.facts import ComplianceState, LeafFacts
from certmgr.compliance.load import all_deadlines, load_domain_facts
from certmgr.compliance.rules import RULES
from certmgr.demo import servers as demo_servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.x509.trust import TrustStore
from inventory.certificates import parse as parse_certificate
from inventory.store import domains
from tests.certmgr.compliance.scanned_site import DAY, HOST, HSTS, REDIRECT, ScannedSite
from tests.clock import clock

BOUNDARIES = [
    (date(2012, 7, 1), 1827),
    (date(2016, 7, 1), 1188),
    (date(2018, 3, 2), 825),
    (date(2020, 9, 1), 398),
    (date(2026, 3, 15), 200),
    (date(2027, 3, 15), 100),
    (date(2029, 3, 15), 47),
]


def leaf(issued: datetime, seconds: int, public: bool | None = True) -> LeafFacts:
    """Make a leaf that lives ``seconds``, the last one included."""
    return LeafFacts(issued, issued + timedelta(seconds=seconds - 1), public)


@pytest.mark.parametrize(("day", "limit"), BOUNDARIES)
def test_lifetime_of_the_limit_complies_and_one_second_more_fails(day: date, limit: int) -> None:
    """Ten days after a boundary, when only one limit applies (BR 1.6.1, 6.3.2)."""
    issued = datetime(day.year, day.month, day.day, tzinfo=UTC) + 10 * DAY
    assert rules.lifetime_of(leaf(issued, limit * 86_400)).state is ComplianceState.COMPLIES
    assert rules.lifetime_of(leaf(issued, limit * 86_400 + 1)).state is ComplianceState.FAILS
    assert (
        rules.lifetime_of(leaf(issued, limit * 86_400 + 1, public=False)).state
        is ComplianceState.NONE
    ), "a private CA is not bound"
    assert (
        rules.lifetime_of(leaf(issued, limit * 86_400, public=None)).state
        is ComplianceState.UNKNOWN
    )


@pytest.mark.parametrize("index", range(1, len(BOUNDARIES)))
def test_either_limit_may_hold_within_48_hours_of_a_boundary(index: int) -> None:
    """The older limit is certain until 48 h before, the newer from 48 h after (BR 7.1.2.7)."""
    day, limit = BOUNDARIES[index]
    older = BOUNDARIES[index - 1][1]
    boundary = datetime(day.year, day.month, day.day, tzinfo=UTC)
    long, short = older * 86_400, limit * 86_400
    second = timedelta(seconds=1)
    assert (
        rules.lifetime_of(leaf(boundary - 2 * DAY - second, long)).state is ComplianceState.COMPLIES
    )
    assert rules.lifetime_of(leaf(boundary - 2 * DAY, long)).state is ComplianceState.UNKNOWN
    assert rules.lifetime_of(leaf(boundary - second, long)).state is ComplianceState.UNKNOWN
    assert rules.lifetime_of(leaf(boundary, long)).state is ComplianceState.UNKNOWN
    assert (
        rules.lifetime_of(leaf(boundary + 2 * DAY - second, long)).state is ComplianceState.UNKNOWN
    )
    assert rules.lifetime_of(leaf(boundary + 2 * DAY, long)).state is ComplianceState.FAILS
    assert rules.lifetime_of(leaf(boundary, short)).state is ComplianceState.COMPLIES
    assert rules.lifetime_of(leaf(boundary, long + 1)).state is ComplianceState.FAILS, (
        "too long under either"
    )


CASES: dict[str, tuple[str, str, str, ComplianceState]] = {
    # milestone: page, server block of HTTP, server block of HTTPS, expected state
    "chrome-56": ("<input type=password>", "index page.html;", HSTS, ComplianceState.FAILS),
    "chrome-62": ("<input name=q>", "index page.html;", HSTS, ComplianceState.FAILS),
    "chrome-68": ("<h1>Welcome</h1>", "index page.html;", HSTS, ComplianceState.FAILS),
    "chrome-79": (
        "<script src=http://x.test/a.js></script>",
        REDIRECT,
        f"{HSTS} index page.html;",
        ComplianceState.FAILS,
    ),
    "chrome-147": (
        "x",
        "return 200 ok;",
        f"{HSTS} return 302 http://{HOST}:HTTP_PORT/;",
        ComplianceState.FAILS,
    ),
    "chrome-154": (
        "x",
        "return 200 ok;",
        f"{HSTS} return 302 http://{HOST}:HTTP_PORT/;",
        ComplianceState.FAILS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_page_that_violates_a_browser_milestone_fails(
    site: ScannedSite, issuer: Authority, name: str
) -> None:
    page, plain, secure, state = CASES[name]
    site.serve(issuer.issue(HOST), plain, secure, page)
    row = site.scan_and_assess(name)
    assert row.state is state
    assert row.findings


@pytest.mark.parametrize(
    "name", [*CASES, "tls-1-2", "sha-1", "keys", "symantec", "entrust", "chunghwa-netlock"]
)
def test_good_site_complies_with_each_milestone(good_site: ScannedSite, name: str) -> None:
    row = good_site.row(name)
    assert (row.state, row.findings) == (ComplianceState.COMPLIES, ())


def test_server_with_tls_1_1_at_most_fails_the_tls_1_2_milestone(
    site: ScannedSite, issuer: Authority
) -> None:
    site.serve(issuer.issue(HOST), REDIRECT, f"{HSTS} return 200 ok;")
    old = Server(
        demo_servers.tls(
            server_context(issuer.issue(HOST), lowest=SSL.TLS1_VERSION, highest=SSL.TLS1_1_VERSION)
        )
    )
    site.stack.callback(old.close)
    site.at(site.settings.http.port, old.port)
    assert site.scan_and_assess("tls-1-2").state is ComplianceState.FAILS


def test_rsa_key_of_1024_bits_fails_the_key_milestone(site: ScannedSite, issuer: Authority) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    site.serve(issuer.issue(HOST), REDIRECT, f"{HSTS} return 200 ok;")
    weak = Server(
        demo_servers.tls(
            server_context(issuer.issue(HOST, key=rsa.generate_private_key(65537, 1024)))
        )
    )
    site.stack.callback(weak.close)
    site.at(site.settings.http.port, weak.port)
    assert site.scan_and_assess("keys").state is ComplianceState.FAILS


def test_sha1_signature_fails_the_sha1_milestone(site: ScannedSite, root: Authority) -> None:
    from tests.certificates import resigned

    issued = resigned(root.issue(HOST), root, "sha1")
    site.serve(issued, REDIRECT, f"{HSTS} ssl_ciphers ALL:@SECLEVEL=0; return 200 ok;")
    assert site.scan_and_assess("sha-1").state is ComplianceState.FAILS


@pytest.mark.parametrize(
    ("organisation", "name"),
    [
        ("Entrust, Inc.", "entrust"),
        ("Symantec Corporation", "symantec"),
        ("Chunghwa Telecom Co., Ltd.", "chunghwa-netlock"),
        ("NETLOCK Kft.", "chunghwa-netlock"),
    ],
)
def test_distrusted_ca_fails_only_its_milestone(
    site: ScannedSite, monkeypatch: pytest.MonkeyPatch, organisation: str, name: str
) -> None:
    """A root with the organisation of the CA represents the CA, whose key is not available."""
    from cryptography.hazmat.primitives.serialization import Encoding

    distrusted = Authority("Test Root", organisation=organisation, clock=clock)
    anchor = parse_certificate(distrusted.certificate.public_bytes(Encoding.DER))
    monkeypatch.setattr(TrustStore, "load", classmethod(lambda cls, *_, **__: cls([anchor])))
    site.serve(Authority("Test Issuer", distrusted).issue(HOST), REDIRECT, f"{HSTS} return 200 ok;")
    assert site.scan_and_assess(name).state is ComplianceState.FAILS
    for other in {"entrust", "symantec", "chunghwa-netlock"} - {name}:
        assert site.row(other).state is ComplianceState.COMPLIES


@pytest.mark.parametrize(
    ("plain", "secure", "code"),
    [
        ("index page.html;", f"{HSTS} return 200 ok;", "http-served"),
        (REDIRECT, f"{HSTS} return 302 http://{HOST}:HTTP_PORT/;", "redirect-loop"),
        ("return 404;", f"{HSTS} return 200 ok;", "redirect-missing"),
    ],
)
def test_site_without_https_fails_the_deadline_of_the_provider(
    site: ScannedSite, issuer: Authority, plain: str, secure: str, code: str
) -> None:
    from inventory.store import deadlines

    with site.database.write() as tx:
        due = {
            "at": clock() - DAY,
            "rule": "https-only",
            "title": "own",
            "purchase_days": 7,
            "validation_days": 7,
            "installation_days": 7,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["1001"], tags=[])
    site.serve(issuer.issue(HOST), plain, secure, "<h1>Shop</h1>")
    row = site.scan_and_assess("own")
    assert row.state is ComplianceState.FAILS
    assert code in {f.code for _, f in row.findings}


def test_expired_certificate_fails_pci_if_card_data_is_handled(
    site: ScannedSite, issuer: Authority
) -> None:
    from inventory.store import editing

    now = clock()
    site.serve(
        issuer.issue(HOST, not_before=now - 60 * DAY, not_after=now - DAY),
        REDIRECT,
        f"{HSTS} return 200 ok;",
    )
    with site.database.write() as tx:
        editing.change_tags(tx, "domain", domains.find(tx.conn, HOST).id, add=["card-data"])
    row = site.scan_and_assess("pci-4")
    assert row.state is ComplianceState.FAILS
    assert {f.code for _, f in row.findings} >= {"certificate-expired"}


def test_certificate_of_398_days_from_a_public_ca_fails_lifetime_200(
    site: ScannedSite, root: Authority, issuer: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test CA represents a CA of a browser's root programme."""
    from cryptography.hazmat.primitives.serialization import Encoding

    anchor = parse_certificate(root.certificate.public_bytes(Encoding.DER))
    monkeypatch.setattr(TrustStore, "load", classmethod(lambda cls, *_, **__: cls([anchor])))
    site.serve(issuer.issue(HOST, days=398), REDIRECT, f"{HSTS} return 200 ok;")
    row = site.scan_and_assess("lifetime-200")
    assert row.state is ComplianceState.FAILS
    assert {f.code for _, f in row.findings} == {"validity-too-long"}


def test_certificate_of_a_private_ca_is_not_bound_by_lifetime_200(
    site: ScannedSite, issuer: Authority
) -> None:
    site.serve(issuer.issue(HOST, days=398), REDIRECT, f"{HSTS} return 200 ok;")
    site.scan()
    found, _ = load_domain_facts(site.database, clock())
    rows = judge(found, all_deadlines(site.database), clock())
    assert rows
    assert "lifetime-200" not in {r.deadline.name for r in rows}
