"""A record of an earlier host among those of our server: every part of the program names it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from certmgr.demo.authority import Authority
from certmgr.demo.pages import page, secure
from certmgr.demo.servers import Server, server_context
from tests.certmgr.installation import ADA, Installation
from tests.clock import clock
from tests.servers.real import dns

NAME = "garten.example.test"
DELETE = f"Please delete the AAAA record ::1 of {NAME}."


@pytest.fixture
def moved(installation: Installation, issuer: Authority) -> Iterator[Installation]:
    """The site moved to our server; the AAAA record of the old host, now expired, was forgotten."""
    now = clock()
    expired = issuer.issue(
        NAME, not_before=now - timedelta(days=90), not_after=now - timedelta(days=9)
    )
    with contextlib.ExitStack() as stack:
        good = server_context(issuer.issue(NAME, days=80))
        ours = Server(secure(good, lambda host, path: page("Garten")))
        stack.callback(ours.close)
        outdated = secure(server_context(expired), lambda host, path: page("Garten"))
        old = Server(outdated, address="::1", port=ours.port)
        stack.callback(old.close)
        installation.add_endpoints(NAME, port=ours.port, addresses=())
        installation.resolver = stack.enter_context(dns({NAME: ["127.0.0.1", "::1"]}))
        path = installation.folder / "certmgr.toml"
        path.write_text(
            path.read_text().replace(
                'allow = ["127.0.0.0/8"]',
                'allow = ["127.0.0.0/8", "::1/128"]\nprovider = ["127.0.0.1/32"]',
            )
        )
        installation.run("client", "edit", "1001", "--dns", "client")
        installation.site_url = f"https://{NAME}:{ours.port}/"
        yield installation


def _diagnosis(installation: Installation, expect: int = 1) -> dict[str, Any]:
    options = ("--http-port", "9", "--language", "en", "--format", "json")
    document: dict[str, Any] = installation.run(
        "diagnose", installation.site_url, *options, expect=expect
    ).json
    return document


def test_diagnosis_asks_for_the_deletion_of_the_record_and_not_for_a_renewal(
    moved: Installation,
) -> None:
    moved.run("scan", expect=1)
    found = _diagnosis(moved)
    assert (found["outcome"], found["code"], found["who"]) == (
        "you-act",
        "foreign-address",
        "client",
    )
    assert found["addresses"] == ["::1"]
    assert found["instruction"].startswith(DELETE)
    assert "You manage the DNS" in found["instruction"]
    assert "Renew" not in found["message"]
    assert "do not renew" in found["message"]
    # A visitor with IPv6 sees the page of the old host.
    assert "at ::1: NET::ERR_CERT_DATE_INVALID" in found["chrome"]


def _second_address(moved: Installation, issuer: Authority) -> contextlib.ExitStack:
    """Let a CDN serve the site too, at an address that the configuration does not name."""
    stack = contextlib.ExitStack()
    port = int(moved.site_url.rsplit(":", 1)[1].rstrip("/"))
    context = server_context(issuer.issue(NAME, days=60))
    cdn = Server(secure(context, lambda host, path: page("Garten")), address="127.0.0.2", port=port)
    stack.callback(cdn.close)
    moved.resolver = stack.enter_context(dns({NAME: ["127.0.0.1", "127.0.0.2", "::1"]}))
    return stack


def test_record_of_a_cdn_among_the_foreign_ones_is_not_to_be_deleted(
    moved: Installation, issuer: Authority
) -> None:
    keep = "keep the record of 127.0.0.2"
    with _second_address(moved, issuer):
        moved.run("scan", expect=1)
        found = _diagnosis(moved)
        assert found["instruction"].startswith(f"{DELETE} Please {keep}")
        assert "delete the A record" not in found["message"]
        assert "127.0.0.2" in found["message"]
        page_of_name = moved.run("domain", "show", NAME, "--format", "json").json
        (shown,) = page_of_name["endpoints"][0]["findings"]
        assert "Delete the AAAA record ::1" in shown["do"]
        assert "Keep the record of 127.0.0.2" in shown["do"]
        report = moved.run("report", "--client", "1001", "--format", "json").json
        (action,) = [a for a in report["you_act"] if a["site"] == NAME]
        assert "::1" in action["do"] and "127.0.0.2" in action["do"]
        moved.run("notify", "--queue-only")
        moved.release_all()
        moved.run("notify")
    texts = [m.text for m in moved.mail.to(ADA)]
    assert any("Lassen Sie den Eintrag von 127.0.0.2 stehen" in t for t in texts), texts


def test_scan_status_causes_and_domain_page_name_the_foreign_address(moved: Installation) -> None:
    scanned = moved.run("scan", "--format", "json", expect=1).json
    (endpoint,) = [e for e in scanned["endpoints"] if e["host"] == NAME]
    assert [(f["code"], f["addresses"]) for f in endpoint["findings"]] == [
        ("foreign-address", ["::1"])
    ]
    assert endpoint["certificate"]["days_left"] >= 79
    causes = moved.run("status", "--causes", "--format", "json", expect=1).json["causes"]
    (cause,) = [c for c in causes if c["code"] == "foreign-address"]
    assert (cause["kind"], cause["actor"]) == ("name server", "client")
    assert "certificate-expired" not in {c["code"] for c in causes}
    page = moved.run("domain", "show", NAME, "--format", "json").json
    (shown,) = page["endpoints"][0]["findings"]
    assert "Delete the AAAA record ::1" in shown["do"]


def test_client_is_asked_to_delete_the_record_and_the_report_agrees(moved: Installation) -> None:
    moved.run("scan", expect=1)
    moved.run("notify", "--queue-only")
    moved.release_all()
    explained = moved.run("notify", "--explain", NAME).out
    assert "foreign-address" in explained
    moved.run("notify")
    texts = [m.text for m in moved.mail.to(ADA)]
    assert any(f"Löschen Sie den AAAA-Eintrag ::1 von {NAME}" in t for t in texts), texts
    report = moved.run("report", "--client", "1001", "--format", "json").json
    (action,) = [a for a in report["you_act"] if a["site"] == NAME]
    assert (action["code"], action["outcome"]) == ("foreign-address", "you-act")
    assert "::1" in action["do"]


def test_record_is_ours_to_delete_if_we_run_the_dns(moved: Installation) -> None:
    moved.run("client", "edit", "1001", "--dns", "us")
    moved.run("scan", expect=1)
    found = _diagnosis(moved)
    assert (found["outcome"], found["who"]) == ("escalated", "provider")
    assert found["instruction"].startswith(DELETE)
    assert "Delete" not in found["message"]


def test_finding_closes_when_the_record_is_gone(moved: Installation) -> None:
    moved.run("scan", expect=1)
    with dns({NAME: ["127.0.0.1"]}) as resolver:
        moved.resolver = resolver
        moved.run("scan")
        found = _diagnosis(moved, 0)
    assert found["code"] is None


def test_older_findings_of_the_foreign_address_close(moved: Installation) -> None:
    """Before the networks were configured, the expired certificate was the finding."""
    path = moved.folder / "certmgr.toml"
    configured = path.read_text()
    path.write_text(configured.replace('provider = ["127.0.0.1/32"]', ""))
    assert "addresses differ" in moved.run("scan", expect=1).out
    path.write_text(configured)
    moved.run("scan", expect=1)
    listed = moved.run("finding", "list", "--format", "json").json["findings"]
    assert {f["code"] for f in listed if NAME in f["target"]} == {"foreign-address"}
