"""``certmgr diagnose`` is right on each site of the demonstration and on hosts outside the
inventory.
"""

from __future__ import annotations

import contextlib
import socket
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.config.settings import ScanSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.demo.pages import PageResponse, page, secure
from certmgr.demo.servers import Server, server_context
from certmgr.diagnose.examination import DiagnosisOptions, diagnose
from certmgr.diagnose.question import parse
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import ProbeContext
from inventory.clock import system_clock
from tests.campaign import UNREACHED
from tests.certmgr.diagnose.demonstration import Demo, Run, call
from tests.certmgr.diagnose.probed_site import HOST
from tests.clock import clock
from tests.servers.real import dns

# site: (outcome, code that decides, what Chrome shows); of the client who renews themselves (1002)
# and of those we care for
EXPECTED = {
    "www.blumen-meier.test": ("escalated", None, "without any warning"),
    "shop.blumen-meier.test": ("escalated", "certificate-expiring", "without any warning"),
    "rosen.blumen-meier.test": ("escalated", "certificate-expired", "ERR_CERT_DATE_INVALID"),
    "tulpen.blumen-meier.test": ("escalated", "certificate-expired", "ERR_CERT_DATE_INVALID"),
    "nelken.blumen-meier.test": ("escalated", "certificate-expired", "ERR_CERT_DATE_INVALID"),
    "xn--grten-gra.blumen-meier.test": ("escalated", "self-signed", "ERR_CERT_AUTHORITY_INVALID"),
    "www.hotel-seeblick.test": ("you-act", "certificate-expiring", "without any warning"),
    "booking.hotel-seeblick.test": ("you-act", "name-mismatch", "ERR_CERT_COMMON_NAME_INVALID"),
    "menu.hotel-seeblick.test": (
        "escalated",
        "chain-incomplete",
        "NET::ERR_CERT_AUTHORITY_INVALID",
    ),
    "rooms.hotel-seeblick.test": (
        "escalated",
        "tls-legacy-only",
        "ERR_SSL_VERSION_OR_CIPHER_MISMATCH",
    ),
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
    "schutz.kanzlei-nguyen.test": ("escalated", "http-unknown", "could not be determined"),
}


def test_expectations_cover_each_site(demo: Demo) -> None:
    assert {s.host for s in demo.sites.sites} == set(EXPECTED)


@pytest.mark.parametrize("host", EXPECTED)
def test_diagnosis_of_each_demonstration_site_is_right(certmgr: Run, demo: Demo, host: str) -> None:
    (site,) = [s for s in demo.sites.sites if s.host == host]
    outcome, code, shown = EXPECTED[host]
    # The silent server makes the program wait for its whole time.
    limit = ("--timeout", "1") if code == "connection-timeout" else ()
    done = call(
        certmgr, demo, "diagnose", f"https://{host}:{site.port}/", *limit, "--format", "json"
    )
    found = done.json
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


def test_login_over_plain_http_is_shown_as_not_secure(certmgr: Run, demo: Demo) -> None:
    (site,) = [s for s in demo.sites.sites if s.host == "kunden.blumen-meier.test"]
    url = f"http://{site.host}:{demo.sites.http_port}/"
    found = call(
        certmgr, demo, "diagnose", url, "--https-port", str(site.port), "--format", "json"
    ).json
    assert "Not secure" in found["chrome"]
    assert any(s["step"] == "HTTP" and "'Login'" in s["text"] for s in found["steps"])


def test_wrong_clock_of_the_visitor_is_the_cause(certmgr: Run, demo: Demo) -> None:
    site = demo.sites.sites[0]
    found = call(
        certmgr,
        demo,
        "diagnose",
        f"https://{site.host}:{site.port}/",
        "--visitor-clock",
        "2019-01-01T10:00",
        "--format",
        "json",
    ).json
    assert (found["outcome"], found["code"]) == ("you-act", "clock")
    assert "1 January 2019" in found["cause"]


def test_assigned_fault_is_fixed_by_its_assignee(certmgr: Run, demo: Demo, tmp_path: Path) -> None:
    # A copy: the clock of the next test begins before a withdrawal of this one.
    copied = demo.copied(tmp_path / "demo")
    base = ("--config", str(copied.configuration()), "--database", str(copied.folder / "demo.db"))
    day = (clock() + timedelta(days=3)).date().isoformat()
    (site,) = [s for s in demo.sites.sites if s.host == "menu.hotel-seeblick.test"]
    options = ("--by", "Ines", "--until", day, "--domain", site.host)
    assigned = certmgr(*base, "finding", "assign", "chain-incomplete", *options)
    assert assigned.code == 0, assigned.err
    url = f"https://{site.host}:{site.port}/"
    found = call(certmgr, copied, "diagnose", url, "--format", "json").json
    assert (found["outcome"], found["person"]) == ("we-act", "Ines")
    assert "Ines" in found["message"]


def test_error_page_of_the_site_is_the_cause(
    certmgr: Run, issuer: Authority, opened: contextlib.ExitStack, root_file: Path
) -> None:
    server = Server(
        secure(
            server_context(issuer.issue(HOST)),
            lambda host, path: PageResponse(500 if path == "/cart?id=7" else 200, "x"),
        )
    )
    opened.callback(server.close)
    base = (
        "--ca-file",
        str(root_file),
        "--resolve",
        f"{HOST}:{server.port}:127.0.0.1",
        "--http-port",
        "9",
        "--format",
        "json",
    )
    done = certmgr("diagnose", f"https://{HOST}:{server.port}/cart?id=7", *base)
    assert (done.json["outcome"], done.json["code"]) == ("you-act", "page-error")
    assert "/cart?id=7" in done.json["cause"]
    assert "500" in done.json["chrome"]
    assert "no fault" not in done.json["message"]


def test_error_of_an_api_without_a_page_is_explained_and_no_severe_fault(
    certmgr: Run, url: str, issuer: Authority, opened: contextlib.ExitStack, root_file: Path
) -> None:
    host = "data.example.test"
    context = server_context(issuer.issue(host))
    server = Server(secure(context, lambda host, path: PageResponse(404, "")))
    opened.callback(server.close)
    base = ("--database", url)
    assert certmgr(*base, "client", "add", "7", "Shop").code == 0
    site = f"https://{host}:{server.port}/"
    trusted = ("--ca-file", str(root_file), "--http-port", "9", "--format", "json")
    options = (*trusted, "--resolve", f"{host}:{server.port}:127.0.0.1")
    added = certmgr(*base, "domain", "add", f"{host}:{server.port}", "--client", "7")
    assert added.code == 0, added.err
    shown = []
    for purpose, code in (("site", 1), ("api", 0)):
        assert certmgr(*base, "domain", "edit", host, "--purpose", purpose).code == 0
        done = certmgr(*base, "diagnose", site, *options)
        assert done.code == code, done.err
        shown.append((done.json["code"], done.json["chrome"]))
    error = "an error page: ERR_HTTP_RESPONSE_CODE_FAILURE"
    assert [text for _, text in shown] == [error, error]
    assert shown[1][0] == "page-missing"


def test_host_outside_the_inventory_is_diagnosed(
    certmgr: Run, issuer: Authority, opened: contextlib.ExitStack, root_file: Path
) -> None:
    now = clock()
    expired = issuer.issue(
        HOST, not_before=now - timedelta(days=60), not_after=now - timedelta(days=1)
    )
    server = Server(secure(server_context(expired), lambda host, path: page("Shop")))
    opened.callback(server.close)
    done = certmgr(
        "diagnose",
        f"https://{HOST}:{server.port}/login",
        "--ca-file",
        str(root_file),
        "--resolve",
        f"{HOST}:{server.port}:127.0.0.1",
        "--http-port",
        "9",
        "--format",
        "json",
    )
    assert done.code == 1
    assert done.json["context"] is None
    assert (done.json["outcome"], done.json["code"]) == ("you-act", "certificate-expired")
    assert any("/login" in s["text"] for s in done.json["steps"] if s["step"] == "HTTP")


def test_internal_address_of_a_name_is_visited_only_on_request() -> None:
    visits: list[str] = []

    def secret(connection: socket.socket) -> None:
        visits.append("visited")
        connection.close()

    with dns({"inside.test": ["127.0.0.1"]}) as resolver, closing(Server(secret)) as server:
        settings = replace(Settings(), scan=ScanSettings(timeout=UNREACHED, resolvers=(resolver,)))
        request = parse(f"https://inside.test:{server.port}/", None)
        options = ScanOptions(always_http=True, http_port=server.port)
        context = ProbeContext(settings=settings, database=None, clock=system_clock)
        guarded = diagnose(context, request, options, DiagnosisOptions(vantage="here"))
        assert visits == []
        assert [f.code for f in guarded.findings] == ["address-refused"]
        diagnose(context, request, options, DiagnosisOptions(vantage="here", internal=True))
        assert visits != []
