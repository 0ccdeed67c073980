"""Complete cases of four clients against real servers, with each message and calendar entry.

The forecast is compared with a table that was calculated by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from certmgr.cases import agreement, installation, intake, new_case
from certmgr.cases.opening import run as run_cases
from certmgr.cases.states import CaseAction
from certmgr.config.context import Context
from certmgr.config.settings import NotifySettings, Settings
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.purchases.load import load
from certmgr.purchases.planning import load_forecast as forecast
from inventory.certificates import parse
from inventory.errors import Conflict
from inventory.store import cases
from inventory.vocabulary import VerificationState
from tests.certmgr.cases.place import CaseEnvironment, Machine, issue, make_env, serve, sha256
from tests.certmgr.cases.simulation import CaseSimulation, changes, invitations
from tests.databases import open_sqlite
from tests.servers.mail import mail_server

DAY = timedelta(days=1)
STAFF = "bob@provider.example"


@pytest.fixture
def simulation(
    tmp_path: Path, settings: Settings, root: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CaseSimulation]:
    (tmp_path / "trusted.pem").write_bytes(root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    with mail_server(root, tmp_path / "mail") as server:
        known = replace(settings, notify=NotifySettings(mail=server.url))
        env = make_env(open_sqlite(tmp_path / "whole.db", "Bob"), known, tmp_path)
        env.staff()
        vendor = Authority("DigiCert TLS", root, organisation="DigiCert Inc")
        with env.servers:
            yield CaseSimulation(env, server, vendor)
        env.database.close()


# A purchase of 2026-11-25 for three years. A reissue comes two weeks before the end of the
# certificate before, for validation and installation. Calculated by hand:
#
# | certificate | issued     | longest life | until      |
# |  1          | 2026-11-25 | 199          | 2027-06-12 |
# |  2          | 2027-05-29 |  99          | 2027-09-05 |
# |  3          | 2027-08-22 |  99          | 2027-11-29 |
# |  4          | 2027-11-15 |  99          | 2028-02-22 |
# |  5          | 2028-02-08 |  99          | 2028-05-17 |
# |  6          | 2028-05-03 |  99          | 2028-08-10 |
# |  7          | 2028-07-27 |  99          | 2028-11-03 |
# |  8          | 2028-10-20 |  99          | 2029-01-27 |
# |  9          | 2029-01-13 |  99          | 2029-04-22 |
# | 10          | 2029-04-08 |  46          | 2029-05-24 |
# | 11          | 2029-05-10 |  46          | 2029-06-25 |
# | 12          | 2029-06-11 |  46          | 2029-07-27 |
# | 13          | 2029-07-13 |  46          | 2029-08-28 |
# | 14          | 2029-08-14 |  46          | 2029-09-29 |
# | 15          | 2029-09-15 |  46          | 2029-10-31 |
# | 16          | 2029-10-17 |  38, cut     | 2029-11-24 |
INSTALLED = [
    "2026-11",
    "2027-05",
    "2027-08",
    "2027-11",
    "2028-02",
    "2028-05",
    "2028-07",
    "2028-10",
    "2029-01",
    "2029-04",
    "2029-05",
    "2029-06",
    "2029-07",
    "2029-08",
    "2029-09",
    "2029-10",
]


def check_forecast(env: CaseEnvironment, start: datetime) -> None:
    begin, end = start + timedelta(minutes=1), datetime(2029, 11, 1, tzinfo=UTC)
    made = forecast(Context(env.database, env.settings, lambda: begin), begin, end)
    installations = {m: line.installations for m, line in made.months.items() if line.installations}
    assert installations == dict.fromkeys(INSTALLED, 1)
    assert {m for m, line in made.months.items() if line.reissues} == set(INSTALLED[1:])
    assert {str(v) for v in made.total.fees.values()} == {"400"}, "16 installations at 25"


def install_first(
    simulation: CaseSimulation, machine: Machine, reference: str, start: datetime, to: str
) -> IssuedCertificate:
    """Run the first case step by step, with each mail, and return its certificate."""
    env = simulation.env
    assert env.row(reference).state == "requested"
    mail = simulation.only(to)
    assert mail.subject.startswith(f"[{reference}] We are working on it")
    # Bob was chosen automatically, which is no promise of his.
    assert "plan to have it done by 27 November 2026" in mail.text
    assert "Bob will" not in mail.text
    pem = simulation.csr(reference)
    mail = simulation.only(to)
    assert f"[{reference}] You need to act by" in mail.subject
    assert pem.strip() in mail.text.replace("\r", "")
    assert "DigiCert D-1001" in mail.text
    simulation.nothing(to)

    issued = issue(simulation.vendor, pem, start=start, life=timedelta(days=199))
    leaf = issued.certificate.public_bytes(Encoding.PEM)
    assert not simulation.receive(reference, leaf, issued.chain_pem).refused
    assert env.row(reference).state == "checked"
    mail = simulation.only(to)
    assert "is correct and can be installed" in mail.text
    assert "fee 25 EUR" in mail.text
    agreement.approve(env.service, reference, "Ada", "telephone", fee="25", currency="EUR")
    row, span = agreement.agree_window(env.service, reference, "2026-11-26T10:00")
    assert row.state == "window-agreed"
    assert span.start == datetime(2026, 11, 26, 9, tzinfo=UTC)
    sent = simulation.notify()
    (mail,) = [m for m in sent if m.to == to]
    uid = f"{reference.lower()}-window@certmgr"
    assert invitations(mail) == [("REQUEST", 0, span.start, uid)]
    assert "26 November 2026, 10:00 CET (2026-11-26 09:00 UTC)" in mail.text
    (task,) = [m for m in sent if m.to == STAFF and reference in m.subject]
    assert invitations(task) == [("REQUEST", 0, span.start, uid)], "both sides have it"
    move_window(simulation, reference, uid, to)

    env.now = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
    machine.show(issued, env.key(reference))
    installation.mark_installed(env.service, reference, "reloaded")
    row, verification = installation.verify_case(env.service, reference)
    assert (verification.state, row.state) == (VerificationState.LIVE, "closed")
    mail = simulation.only(to)
    assert mail.subject == f"[{reference}] Done: shop.example.com"
    assert parse(issued.der).serial in mail.text
    assert "on 29 May 2027 it must be reissued" in mail.text
    simulation.nothing(to)
    assert env.events(reference) == [
        "open",
        "csr",
        "send",
        "receive",
        "accept",
        "approve",
        "agree",
        "agree",
        "lift",
        "agree",
        "install",
        "see",
        "close",
    ]
    return issued


def move_window(simulation: CaseSimulation, reference: str, uid: str, to: str) -> None:
    """Move the agreed window, cancel it, and agree again: one entry in the calendar changes."""
    env = simulation.env
    second_start = datetime(2026, 11, 27, 9, tzinfo=UTC)
    agreement.agree_window(env.service, reference, "2026-11-27T10:00")
    assert invitations(simulation.only(to)) == [("REQUEST", 1, second_start, uid)]
    agreement.cancel_window(env.service, reference, "Ada is ill")
    assert invitations(simulation.only(to)) == [("CANCEL", 2, second_start, uid)]
    agreement.agree_window(env.service, reference, "2026-11-30T10:00")
    third_start = datetime(2026, 11, 30, 9, tzinfo=UTC)
    assert invitations(simulation.only(to)) == [("REQUEST", 3, third_start, uid)]


def test_purchase_of_three_years_is_reissued_at_each_step_of_the_rules(
    simulation: CaseSimulation,
) -> None:
    env, to = simulation.env, "owner@client1001.example"
    env.client("1001", "shop.example.com")
    start = datetime(2026, 11, 25, tzinfo=UTC)
    term = {"years": 3, "price": "270", "starts_at": start, "dcv_at": start}
    order_id = simulation.purchase("1001", "shop.example.com", **term)
    machine = env.machine("shop.example.com")

    check_forecast(env, start)
    (reference,) = run_cases(env.service).opened
    issued = install_first(simulation, machine, reference, start, to)

    # The step of 2027: its case opens two weeks before the reissue, and not a day earlier.
    env.now = datetime(2027, 5, 14, 9, tzinfo=UTC)
    assert run_cases(env.service).opened == []
    env.pass_(days=1.1)
    (second,) = run_cases(env.service).opened
    assert second != reference
    row = env.row(second)
    assert (row.kind, row.names) == ("reissue", ("shop.example.com",))
    assert row.order_id == order_id
    assert run_cases(env.service).opened == [], "one case at a time"
    env.now = datetime(2027, 5, 28, 9, tzinfo=UTC)
    old = issued
    issued = simulation.complete(second, machine, 99)
    with env.database.read() as conn:
        (purchase,) = load(conn)
    # A certificate that needs a new validation proves that there was one.
    assert purchase.dcv == datetime(2027, 5, 28, 9, tzinfo=UTC)

    # The old certificate comes back, and the case is reopened.
    machine.show(old, env.key(reference))
    row, verification = installation.verify_case(env.service, second)
    assert verification.old == (f"shop.example.com:{machine.port} at 127.0.0.1",)
    assert row.state == "reopened"
    machine.show(issued, env.key(second))
    assert installation.verify_case(env.service, second)[0].state == "closed"

    # The step of 2029; a certificate that was issued in between is linked by hand.
    begin = datetime(2029, 1, 13, tzinfo=UTC)
    end = begin + 99 * DAY - timedelta(seconds=1)
    between = simulation.vendor.issue("shop.example.com", not_before=begin, not_after=end)
    path = env.folder / "between.pem"
    path.write_bytes(between.chain_pem)
    intake.attach_certificate(env.context, "D-1001", str(path))
    env.now = datetime(2029, 3, 26, 9, tzinfo=UTC)
    (third,) = run_cases(env.service).opened
    env.now = datetime(2029, 4, 8, 9, tzinfo=UTC)
    simulation.complete(third, machine, 46)
    with env.database.read() as conn:
        (purchase,) = load(conn)
    lives = [round((i.not_after - i.not_before) / DAY) for i in purchase.issued]
    assert lives == [199, 99, 99, 46]


def test_pkcs12_with_a_wrong_key_is_refused_and_the_right_certificate_is_installed(
    simulation: CaseSimulation,
) -> None:
    env, to = simulation.env, "owner@client1002.example"
    env.client("1002", "laden.example.com", language="de")
    simulation.purchase("1002", "laden.example.com")
    machine = env.machine("laden.example.com")
    reference = new_case.open_case(
        env.service, "1002", [], new_case.CaseOptions(order="D-1002")
    ).reference
    pem = simulation.csr(reference)
    simulation.only(to)
    wrong = simulation.vendor.issue("laden.example.com", days=199)
    encryption = BestAvailableEncryption(b"geheim")
    bundle = serialize_key_and_certificates(
        b"x", wrong.key, wrong.certificate, wrong.chain[1:], encryption
    )
    review = simulation.receive(reference, bundle, password="geheim")
    assert review.refused
    assert {s.code for s in review.messages} == {"wrong-key", "key-sent"}
    assert env.row(reference).state == "waiting-purchase"
    mail = simulation.only(to)
    assert "für einen anderen Schlüssel" in mail.text
    assert "-----BEGIN CERTIFICATE REQUEST-----" in mail.text, "with the CSR once more"
    assert "private key" not in mail.text
    ours = env.service.keys.path(reference, "ec-p256")
    kept = list(env.service.keys.directory.rglob("*.key"))
    assert kept == [ours], "the vendor's key is not stored"
    issued = issue(simulation.vendor, pem, start=env.now, life=timedelta(days=199))
    assert not simulation.receive(reference, issued.chain_pem).refused
    assert "ist richtig" in simulation.only(to).text
    agreement.approve(env.service, reference, "Herr Meier", "Mail vom 25. November")
    agreement.agree_window(env.service, reference, "2026-11-26T08:30")
    assert changes(simulation.only(to)) == [("REQUEST", 0)]
    env.now = datetime(2026, 11, 26, 8, tzinfo=UTC)
    machine.show(issued, env.key(reference))
    assert run_cases(env.service).closed == [], (
        "the window is not over, and no one reported it installed"
    )
    env.pass_(hours=2)
    assert run_cases(env.service).closed == [reference], (
        "after the window it is verified automatically"
    )
    mail = simulation.only(to)
    assert "Erledigt" in mail.subject or "ist erledigt" in mail.text
    assert env.events(reference)[-2:] == ["see", "close"]


def test_case_with_a_forgotten_address_closes_only_when_both_show_the_certificate(
    simulation: CaseSimulation,
) -> None:
    env, to = simulation.env, "owner@client1003.example"
    name, first, second = "portal.example.com", "127.0.0.5", "127.0.0.6"
    env.client("1003", name)
    machine = env.machine(name, (first, second))
    begin, end = env.now - 190 * DAY, env.now + 20 * DAY
    old = simulation.vendor.issue(name, not_before=begin, not_after=end)
    machine.show(old, old.key)
    serve(env.database, name, old, env.now, (first, second))
    reference = new_case.open_case(env.service, "1003", [name]).reference
    row = env.row(reference)
    assert (row.kind, row.replaces) == ("renewal", (sha256(old),))
    csr = simulation.csr(reference)
    issued = issue(simulation.vendor, csr, start=env.now, life=timedelta(days=199))
    assert not simulation.receive(reference, issued.chain_pem).refused
    agreement.approve(env.service, reference, "Eve", "telephone")
    agreement.agree_window(env.service, reference, "2026-11-26T10:00")
    simulation.notify()

    # One address is forgotten: the case stays open, and is overdue.
    env.now = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
    machine.show(issued, env.key(reference), first)
    row, verification = installation.verify_case(env.service, reference)
    assert verification.state is VerificationState.PARTIAL
    assert verification.missing == verification.old == (f"{name}:{machine.port} at {second}",)
    assert row.state == "installed"
    env.pass_(hours=30)
    assert run_cases(env.service).closed == []
    sent = simulation.notify()
    assert [m.subject for m in sent if m.to == to and "Done" in m.subject] == []
    tasks = [m.text for m in sent if m.to == STAFF]
    assert any("overdue" in t and reference in t for t in tasks)
    with pytest.raises(Conflict, match="cannot be closed as done"):
        env.service.close(reference)
    machine.show(issued, env.key(reference), second)
    done = run_cases(env.service)
    assert done.closed == [reference], (done, env.row(reference))
    assert simulation.only(to).subject == f"[{reference}] Done: {name}"

    # The old one comes back on one address: the next verification reopens the case.
    machine.show(old, old.key, second)
    row, verification = installation.verify_case(env.service, reference)
    assert row.state == "reopened"
    mail = simulation.only(to)
    back = "the earlier certificate is shown again"
    assert f"checking the certificate of {name} again: {back}" in mail.text
    assert second not in mail.text, "addresses are for the provider alone"
    with env.database.read() as conn:
        assert "unexpected-certificate" in cases.events(conn, row.id)[-1].text
    machine.show(issued, env.key(reference), second)
    row, _ = installation.verify_case(env.service, reference)
    assert row.state == "closed"


def test_cancelled_case_cancels_its_calendar_entry_and_gives_the_reason(
    simulation: CaseSimulation,
) -> None:
    env, to = simulation.env, "owner@client1004.example"
    env.client("1004", "gone.example.com")
    reference = new_case.open_case(env.service, "1004", ["gone.example.com"]).reference
    issued = issue(simulation.vendor, simulation.csr(reference), start=env.now)
    simulation.receive(reference, issued.chain_pem)
    agreement.approve(env.service, reference, "Zoe", "telephone")
    agreement.agree_window(env.service, reference, "2026-11-26T10:00")
    simulation.only(to)
    env.service.end(reference, CaseAction.CANCEL, "the shop closes")
    mail = simulation.only(to)
    assert mail.subject == f"[{reference}] Stopped: gone.example.com"
    assert "the shop closes" in mail.text
    assert changes(mail) == [("CANCEL", 1)]
    simulation.nothing(to)
