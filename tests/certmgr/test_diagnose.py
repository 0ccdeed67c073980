"""``certmgr diagnose``: right on every site of the demonstration, on addresses that differ, and on hosts that nobody knows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmgr.config import HttpSettings, NetworkSettings, ScanSettings, Settings, TrustSettings
from certmgr.demo import servers as demo_servers
from certmgr.demo import show
from certmgr.demo.authority import Authority
from certmgr.demo.pages import page, secure
from certmgr.demo.servers import Server, server_context
from certmgr.demo.sites import Street, open_street
from certmgr.diagnose import chrome, steps
from certmgr.diagnose.outcome import Facts, Outcome, decide
from certmgr.scan.report import Report
from certmgr.survey import Options, Survey, look_at
from inventory.database import Database
from inventory.store import clients, contacts, domains, endpoints, findings, servers
from inventory.targets import Target
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran

HOST = "shop.example.test"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass(slots=True)
class Demo:
    street: Street
    database: Database
    folder: Path

    def configuration(self) -> Path:
        path = self.folder / "demo.toml"
        path.write_text(
            f'[scan]\ntimeout = 2.5\nper_address = 0\nrate = 0.0\n[trust]\nca_files = ["{self.folder}/root.pem"]\n'
            f"[http]\nport = {self.street.http_port}\nper_address = 0\nrate = 0.0\n"
        )
        return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    street = open_street()
    (folder / "root.pem").write_bytes(street.root.pem)
    database = open_sqlite(folder / "demo.db")
    show._build(database, street)
    settings = replace(
        Settings(), scan=ScanSettings(timeout=2.5, per_address=0, rate=0.0), trust=TrustSettings(ca_files=(str(folder / "root.pem"),)),
        http=HttpSettings(port=street.http_port, per_address=0, rate=0.0),
    )  # fmt: skip
    Survey(database, settings, Options(overrides=street.overrides())).run()
    yield Demo(street, database, folder)
    street.close()


# site: (outcome, code that decides, what Chrome shows); of the client who renews themselves (1002) and of those we care for
EXPECTED = {
    "www.blumen-meier.test": ("escalated", None, "without any warning"),
    "shop.blumen-meier.test": ("escalated", "certificate-expiring", "without any warning"),
    "rosen.blumen-meier.test": ("escalated", "certificate-expired", "ERR_CERT_DATE_INVALID"),
    "tulpen.blumen-meier.test": ("escalated", "certificate-expired", "ERR_CERT_DATE_INVALID"),
    "nelken.blumen-meier.test": ("escalated", "certificate-expired", "ERR_CERT_DATE_INVALID"),
    "xn--grten-gra.blumen-meier.test": ("escalated", "self-signed", "ERR_CERT_AUTHORITY_INVALID"),
    "www.hotel-seeblick.test": ("you-act", "certificate-expiring", "without any warning"),
    "booking.hotel-seeblick.test": ("you-act", "name-mismatch", "ERR_CERT_COMMON_NAME_INVALID"),
    "menu.hotel-seeblick.test": ("escalated", "chain-incomplete", "mostly the page"),
    "rooms.hotel-seeblick.test": ("escalated", "tls-legacy-only", "ERR_SSL_VERSION_OR_CIPHER_MISMATCH"),
    "www.kanzlei-nguyen.test": ("escalated", "not-tls", "ERR_SSL_PROTOCOL_ERROR"),
    "akten.kanzlei-nguyen.test": ("escalated", "connection-timeout", "ERR_CONNECTION_TIMED_OUT"),
    "neu.kanzlei-nguyen.test": ("escalated", "default-certificate", "ERR_CERT_COMMON_NAME_INVALID"),
    "2027.kanzlei-nguyen.test": ("escalated", "certificate-not-yet-valid", "ERR_CERT_DATE_INVALID"),
    "mandat.kanzlei-nguyen.test": ("escalated", "https-missing", "ERR_CONNECTION_REFUSED"),
    "mail.kanzlei-nguyen.test": ("escalated", None, "without any warning"),
    "kunden.blumen-meier.test": ("escalated", "http-collects-secrets", "without any warning"),
    "fotos.blumen-meier.test": ("you-act", "mixed-content", "blocked or missing"),
    "blumen-meier.test": ("escalated", None, "without any warning"),
    "kasse.hotel-seeblick.test": ("you-act", "https-missing", "ERR_CONNECTION_REFUSED"),
    "alt.hotel-seeblick.test": ("escalated", "redirect-loop", "ERR_TOO_MANY_REDIRECTS"),
    "schutz.kanzlei-nguyen.test": ("escalated", "http-unknown", "could not be told"),
}

Run = Callable[..., Ran]


def call(certmgr: Run, demo: Demo, *arguments: str) -> Ran:
    resolves = [f"--resolve={host}:{port}:{','.join(a)}" for (host, port), a in demo.street.overrides().items()]
    return certmgr("--config", str(demo.configuration()), "--database", str(demo.folder / "demo.db"), *arguments, *resolves)


def test_the_table_names_every_site(demo: Demo) -> None:
    assert {s.host for s in demo.street.sites} == set(EXPECTED)


@pytest.mark.parametrize("host", EXPECTED)
def test_right_on_every_site_of_the_demonstration(certmgr: Run, demo: Demo, host: str) -> None:
    (site,) = [s for s in demo.street.sites if s.host == host]
    done = call(certmgr, demo, "diagnose", f"https://{host}:{site.port}/", "--format", "json")
    found = done.json
    outcome, code, shown = EXPECTED[host]
    assert (found["outcome"], found["code"]) == (outcome, code), done.err
    assert shown in found["chrome"]
    assert found["context"]["client"] == site.client
    assert found["message"]
    assert bool(found["questions"]) is (code is None), "questions only where nothing is found"
    assert (found["escalation"] is not None) is (outcome == "escalated")
    if code is not None:
        assert found["cause"] and found["instruction"]
    severe = any(f["severity"] in ("critical", "high") for f in found["findings"])
    assert done.code == int(severe)


def test_plain_http_of_a_login_is_not_secure(certmgr: Run, demo: Demo) -> None:
    (site,) = [s for s in demo.street.sites if s.host == "kunden.blumen-meier.test"]
    url = f"http://{site.host}:{demo.street.http_port}/"
    found = call(certmgr, demo, "diagnose", url, "--https-port", str(site.port), "--format", "json").json
    assert "Not secure" in found["chrome"]
    assert any(s["step"] == "HTTP" and "'Login'" in s["text"] for s in found["steps"])


def test_the_steps_are_those_of_a_visitor(certmgr: Run, demo: Demo) -> None:
    site = demo.street.sites[0]
    found = call(certmgr, demo, "diagnose", f"https://{site.host}:{site.port}/", "--format", "json").json
    assert [s["step"] for s in found["steps"]] == ["name resolution", "reachability", "TLS", "chain", "name", "dates", "HTTP"]
    assert {s["state"] for s in found["steps"]} == {"ok"}


def test_the_visitors_clock(certmgr: Run, demo: Demo) -> None:
    site = demo.street.sites[0]
    found = call(
        certmgr, demo, "diagnose", f"https://{site.host}:{site.port}/", "--visitor-clock", "2019-01-01T10:00", "--format", "json"
    ).json
    assert (found["outcome"], found["code"]) == ("you-act", "clock")
    assert "1 January 2019" in found["cause"]


def test_the_message_alone_in_the_clients_language(certmgr: Run, demo: Demo) -> None:
    (site,) = [s for s in demo.street.sites if s.host == "booking.hotel-seeblick.test"]
    url = f"https://{site.host}:{site.port}/"
    english = call(certmgr, demo, "diagnose", url, "--message").out
    assert english.startswith("Hello Owner of Hotel Seeblick,")
    assert "never a key" in english
    with demo.database.write() as tx:
        contacts.edit(tx, "Owner of Hotel Seeblick", {"language": "de"})
    german = call(certmgr, demo, "diagnose", url, "--message").out
    assert german.startswith("Guten Tag Owner of Hotel Seeblick,")
    assert "Sie müssen handeln" in german
    assert "niemals einen Schlüssel" in german


def test_a_fault_that_somebody_of_us_has_taken(certmgr: Run, demo: Demo) -> None:
    base = ("--config", str(demo.configuration()), "--database", str(demo.folder / "demo.db"))
    day = (clock() + timedelta(days=3)).date().isoformat()
    taken = certmgr(
        *base, "finding", "take", "chain-incomplete", "--by", "Ines", "--until", day, "--domain", "menu.hotel-seeblick.test"
    )
    assert taken.code == 0, taken.err
    (site,) = [s for s in demo.street.sites if s.host == "menu.hotel-seeblick.test"]
    found = call(certmgr, demo, "diagnose", f"https://{site.host}:{site.port}/", "--format", "json").json
    assert (found["outcome"], found["person"]) == ("we-act", "Ines")
    assert "Ines" in found["message"]
    number = taken.out.split(":")[0]
    assert certmgr(*base, "finding", "withdraw", number).code == 0


def test_text_for_people_has_the_same(certmgr: Run, demo: Demo) -> None:
    (site,) = [s for s in demo.street.sites if s.host == "rosen.blumen-meier.test"]
    out = call(certmgr, demo, "diagnose", f"https://{site.host}:{site.port}/").out
    for word in (
        "client 1001 Blumen Meier",
        "account manager Jo",
        "open: certificate-expired since",
        "OUTCOME",
        "message to the client",
        "for level 2",
    ):
        assert word in out


# -- addresses that differ, and hosts that nobody knows -------------------------------------------------------------------


def served(issuer: Authority, opened: contextlib.ExitStack, address: str = "127.0.0.1", port: int = 0) -> int:
    server = Server(secure(server_context(issuer.issue(HOST)), lambda host, path: page("Shop")), address=address, port=port)
    opened.callback(server.close)
    return server.port


def look(settings: Settings, port: int, addresses: tuple[str, ...], **network: tuple[str, ...]) -> Report:
    from tests.servers.ports import free_port

    chosen = replace(settings, network=NetworkSettings(**network))
    return look_at(
        chosen,
        Options(overrides={(HOST, port): addresses}, http_port=free_port(), always_http=True),
        Target(HOST, port),
        ("/",),
        None,
        "site",
        None,
        clock=clock,
    )


def test_a_wrong_aaaa_record_is_to_be_deleted(settings: Settings, issuer: Authority, opened: contextlib.ExitStack) -> None:
    """The founding case of the desk: one sentence with the record, no talk of IPv6 faults."""
    port = served(issuer, opened)
    report = look(settings, port, ("127.0.0.1", "::1"))
    outcome = decide(report, report.findings, Facts(ours=frozenset({"127.0.0.1"})))
    assert (outcome.outcome, outcome.partial) == ("you-act", ("::1",))
    assert outcome.instruction.startswith(f"Please delete the AAAA record ::1 of {HOST}.")
    known = decide(report, report.findings, Facts(known=True, ours=frozenset({"127.0.0.1"})))
    assert known.instruction == f"Please delete the AAAA record ::1 of {HOST}."
    assert "at ::1" in chrome.shown(report.findings, [a.address for a in report.addresses], plain=False)


def test_a_silent_address_is_not_to_be_deleted(settings: Settings, issuer: Authority, opened: contextlib.ExitStack) -> None:
    """A time-out is "could not tell": nobody is sent to change the DNS for it."""
    port = served(issuer, opened)
    silent = Server(demo_servers.silent, address="127.0.0.2", port=port)
    opened.callback(silent.close)
    chosen = replace(settings, scan=replace(settings.scan, timeout=1.5))
    report = look(chosen, port, ("127.0.0.1", "127.0.0.2"))
    outcome = decide(report, report.findings, Facts(known=True, ours=frozenset({"127.0.0.1"})))
    assert (outcome.outcome, outcome.code) == ("escalated", "connection-timeout")
    assert "could not be told" in chrome.shown(report.findings, [a.address for a in report.addresses], plain=False)


def test_an_error_of_the_site_itself(certmgr: Run, issuer: Authority, opened: contextlib.ExitStack, root_file: Path) -> None:
    from certmgr.demo.pages import Answer

    server = Server(
        secure(server_context(issuer.issue(HOST)), lambda host, path: Answer(500 if path == "/cart?id=7" else 200, "x"))
    )
    opened.callback(server.close)
    base = ("--ca-file", str(root_file), "--resolve", f"{HOST}:{server.port}:127.0.0.1", "--http-port", "9", "--format", "json")
    done = certmgr("diagnose", f"https://{HOST}:{server.port}/cart?id=7", *base)
    assert (done.json["outcome"], done.json["code"]) == ("you-act", "page-error")
    assert "/cart?id=7" in done.json["cause"]
    assert "500" in done.json["chrome"]
    assert "no fault" not in done.json["message"]


def test_one_of_our_own_addresses_is_mended_not_deleted(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack
) -> None:
    port = served(issuer, opened)
    report = look(settings, port, ("127.0.0.1", "127.0.0.2"))
    outcome = decide(report, report.findings, Facts(known=True, ours=frozenset({"127.0.0.1", "127.0.0.2"})))
    assert outcome.outcome == "escalated"
    assert "delete" not in outcome.instruction.lower()


def test_a_name_that_points_to_another_server(settings: Settings, issuer: Authority, opened: contextlib.ExitStack) -> None:
    strange = Server(demo_servers.tls(server_context(issuer.issue("panel.other.test"))))
    opened.callback(strange.close)
    report = look(settings, strange.port, ("127.0.0.1",), provider=("192.0.2.0/24",))
    facts = Facts(known=True, own_addresses=("192.0.2.10",))
    outcome = decide(report, report.findings, facts)
    assert (outcome.outcome, outcome.code) == ("you-act", "points-elsewhere")
    assert outcome.instruction == f"Please change the A record of {HOST} from 127.0.0.1 to 192.0.2.10."
    ours = decide(report, report.findings, replace(facts, dns_is_ours=True))
    assert (ours.outcome, ours.who) == ("escalated", "provider")


def test_a_host_that_is_not_in_the_inventory(
    certmgr: Run, issuer: Authority, opened: contextlib.ExitStack, root_file: Path
) -> None:
    now = clock()
    expired = issuer.issue(HOST, not_before=now - timedelta(days=60), not_after=now - timedelta(days=1))
    server = Server(secure(server_context(expired), lambda host, path: page("Shop")))
    opened.callback(server.close)
    done = certmgr("diagnose", f"https://{HOST}:{server.port}/login", "--ca-file", str(root_file), "--resolve", f"{HOST}:{server.port}:127.0.0.1",
                   "--http-port", "9", "--format", "json")  # fmt: skip
    assert done.code == 1
    assert done.json["context"] is None
    assert (done.json["outcome"], done.json["code"]) == ("you-act", "certificate-expired")
    assert any("/login" in s["text"] for s in done.json["steps"] if s["step"] == "HTTP")


def test_a_name_that_does_not_exist(settings: Settings) -> None:
    from tests.servers import real

    with real.dns({}) as resolver:
        chosen = replace(settings, scan=replace(settings.scan, resolvers=(resolver,)))
        report = look_at(
            chosen, Options(always_http=True), Target("nobody.example.test"), ("/",), None, "site", None, clock=clock
        )
    outcome = decide(report, report.findings, Facts())
    assert (outcome.outcome, outcome.code) == ("you-act", "name-not-found")
    made = steps.steps(report, "https://nobody.example.test/", NOW)
    assert made[0].state == "fault"
    assert [s.state for s in made[1:]] == ["not reached"] * 4


def test_exactly_one_outcome_for_every_code(settings: Settings, issuer: Authority, opened: contextlib.ExitStack) -> None:
    """Whatever is found, and whoever acts: one of the three, and a cause with an instruction."""
    from certmgr.checks.codes import CODES
    from inventory.model import Actor, Finding

    report = look(settings, served(issuer, opened), ("127.0.0.1",))
    for code, meta in CODES.items():
        for actor in Actor:
            for known in (True, False):
                finding = Finding(code, meta.severity, ("127.0.0.1",), {}, actor)
                outcome: Outcome = decide(report, [finding], Facts(known=known))
                assert outcome.outcome in ("you-act", "we-act", "escalated"), code
                if outcome.code:
                    assert outcome.cause, code
                    assert outcome.instruction, code


@pytest.mark.parametrize(("arguments", "said"), [
    (("ftp://shop.example.test/",), "not a web address"), (("https://",), "empty"), (("https://a b/",), "not a domain name"),
    (("https://shop.example.test:99999/",), "not a web address"), (("https://shop.example.test/", "--language", "fr"), "no language"),
    (("https://shop.example.test/", "--visitor-clock", "noon"), "is not a date"), (("https://[::1/",), "not a web address"), (("https://127.0.0.1:0/",), "port 0"),
])  # fmt: skip
def test_wrong_calls_are_one_clear_line(certmgr: Run, arguments: tuple[str, ...], said: str) -> None:
    done = certmgr("diagnose", *arguments)
    assert done.code == 2, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_diagnosis_makes_no_database(certmgr: Run, tmp_path: Path) -> None:
    from tests.servers.ports import free_port

    certmgr(
        "diagnose",
        f"https://{HOST}:{free_port()}/",
        "--resolve",
        f"{HOST}:443:127.0.0.1",
        "--http-port",
        str(free_port()),
        "--timeout",
        "1",
    )
    assert not (tmp_path / "cli.db").exists()


def test_what_changed_since_it_was_last_good(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack, tmp_path: Path
) -> None:
    from certmgr.diagnose import context as contexts

    port = served(issuer, opened)
    database = open_sqlite(tmp_path / "x.db")
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One", "account_manager": "Jo", "hosts": "us", "buys": "us"})
        servers.add(tx, {"name": "web1", "kind": "web", "addresses": ["127.0.0.1"]})
        domains.add(tx, HOST, {"client": "1", "server": "web1"})
        endpoints.edit(tx, Target(HOST), {"port": port, "addresses": ["127.0.0.1"]})
    Survey(database, replace(settings, http=HttpSettings(enabled=False)), Options()).run()
    opened.close()
    now = clock()
    expired = Server(
        secure(
            server_context(issuer.issue(HOST, not_before=now - timedelta(days=60), not_after=now - timedelta(days=1))),
            lambda h, p: page("x"),
        ),
        port=port,
    )
    opened.callback(expired.close)
    known = contexts.load(database, Target(HOST, port), now)
    assert known is not None
    report = look(settings, port, ("127.0.0.1", "127.0.0.2"))
    said = contexts.changes(known, report)
    assert "the address 127.0.0.2 is new" in said
    assert any("another certificate" in s for s in said)
    assert "new since the last scan: certificate-expired" in said
    assert json.dumps(said)
    with database.read() as conn:
        assert findings.listing(conn) == []
