"""``certmgr doctor``: faults of the set-up, and how to fix them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certmgr.config.settings import DatabaseSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.operations.check_result import CheckState
from certmgr.operations.doctor_surroundings import resolver_answers, secrets
from inventory.clock import system_clock
from tests import program
from tests.certmgr.installation import Installation
from tests.servers.mail import mail_server
from tests.servers.real import dns

DAY = timedelta(days=1)


@pytest.fixture
def silent_udp_port() -> Iterator[int]:
    """The port of a socket that takes packets and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


def test_doctor_reports_each_check_and_what_to_do_about_a_fault(
    installation: Installation,
) -> None:
    with dns({"": "NODATA", ".": "NODATA", "provider.example": "NODATA"}) as resolver:
        installation.resolver = resolver
        rows = installation.run("doctor", "--format", "json", expect=None).json["doctor"]
        states = {(row["check"], row["state"]) for row in rows}
        assert states >= {
            ("SPF", "warning"),
            ("staff", "ok"),
            ("audit log", "ok"),
            ("resolver", "ok"),
            ("runs", "warning"),
        }
        assert all(row["todo"] for row in rows if row["state"] == "fault")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("NXDOMAIN", "the root zone does not exist"), ("SERVFAIL", "it refuses the question")],
)
def test_useless_resolver_is_a_fault_in_words_and_names_its_address(
    installation: Installation, answer: str, reason: str
) -> None:
    with dns({"": answer, ".": answer}) as resolver:
        installation.resolver = resolver
        rows = installation.run("doctor", "--format", "json", expect=3).json["doctor"]
    (row,) = [r for r in rows if r["check"] == "resolver"]
    assert row["state"] == "fault" and reason in row["what"] and "127.0.0.1" in row["what"]


def test_resolver_that_is_silent_next_to_one_that_answers_is_a_warning(
    settings: Settings, silent_udp_port: int
) -> None:
    """Each question to it costs its time limit, so a scan is slow, and its verdicts are right."""
    dead = f"127.0.0.1:{silent_udp_port}"
    with dns({"": "NODATA", ".": "NODATA"}) as resolver:
        both = replace(settings.scan, resolvers=(dead, resolver), timeout=0.3)
        (row,) = resolver_answers(replace(settings, scan=both))
        assert (row.state, row.what) == (
            CheckState.WARNING,
            f"{dead}: no answer in time; {resolver} answers",
        )
        alone = replace(settings.scan, resolvers=(dead,), timeout=0.3)
        (row,) = resolver_answers(replace(settings, scan=alone))
        assert (row.state, row.what) == (CheckState.FAULT, f"{dead}: no answer in time")


def test_secret_that_others_can_read_is_a_fault_with_its_remedy(
    installation: Installation,
) -> None:
    secret = installation.folder / "mail.url"
    secret.write_text(installation.mail.url)
    secret.chmod(0o644)
    installation.config(mail=f"file:{secret}")
    done = installation.run("doctor", expect=3)
    assert "can be read by others" in done.out
    assert f"chmod 600 {secret}" in done.out


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("postgresql://certmgr@db.example.net/certmgr", False),
        ("postgresql:///certmgr?host=/run/postgresql&user=certmgr", False),
        ("env:CERTMGR_DATABASE", False),
        ("postgresql://certmgr:pw@db.example.net/certmgr", True),
        ("postgresql://db.example.net/certmgr?user=certmgr&password=pw", True),
        ("postgresql://certmgr@db.example.net:port/certmgr", True),
    ],
)
def test_url_of_a_database_is_a_secret_only_with_a_password(
    settings: Settings, tmp_path: Path, url: str, warns: bool
) -> None:
    stated = replace(
        settings, database=DatabaseSettings(url=url), source=str(tmp_path / "certmgr.toml")
    )
    found = [r.what for r in secrets(stated)]
    assert ("the configuration contains a password in clear text" in found) == warns


def test_mail_server_that_does_not_answer_is_a_fault(installation: Installation) -> None:
    installation.config(mail="mailtos://u:p@localhost:1?smtp=localhost&from=a@b.example")
    done = installation.run("doctor", expect=3)
    assert re.search(r"^✗ fault +mail server ", done.out, re.MULTILINE)


def test_mail_server_whose_certificate_ends_soon_is_a_warning(
    installation: Installation,
    root: Authority,
) -> None:
    # The mail library compares the certificate with the system clock, so doctor uses it too.
    now = system_clock()
    soon = root.issue("localhost", not_before=now - DAY, not_after=now + 5 * DAY)
    with mail_server(root, installation.folder / "soon", soon) as mail:
        done = program.run(
            (*installation.options, "doctor", "--format", "json"),
            system_clock,
            environment=installation.environment | {"MAIL_URL": mail.url},
        )
    rows = {row["check"]: row for row in done.json["doctor"]}
    assert rows["mail server"]["state"] == "warning"
