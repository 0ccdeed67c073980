"""Tests of ``certmgr notice``: from a scan to the mail and its reply, and invalid input."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from inventory.store import audit_log, clients, domains, tickets
from tests.certmgr.installation import ADA, EVE, SHOP, Installation
from tests.clock import START, clock
from tests.databases import open_sqlite
from tests.inventory.store import builders
from tests.servers.mail import mailbox

TOMORROW = f"{START + timedelta(days=1):%Y-%m-%d}"


def test_expiring_certificate_is_mailed_once_and_the_answer_is_matched(
    due_installation: Installation, root: Authority, tmp_path: Path
) -> None:
    run, mail = due_installation.run, due_installation.mail
    dry = run("notify", "--dry-run")
    assert SHOP in dry.out
    assert "Nothing was queued or sent" in dry.out
    run("notice", "preview", "--output", str(tmp_path / "eml"))
    previews = [path.read_bytes() for path in (tmp_path / "eml").iterdir()]
    assert any(b"X-Certmgr-Notice" in preview for preview in previews)
    assert mail.received == []

    quiet = run("notify")
    assert (quiet.out, quiet.err) == ("", ""), "without problems a run prints nothing"
    (received,) = mail.to(ADA)
    assert "Sie müssen" in received.text, "in the language of the contact"
    assert SHOP in received.subject
    assert "Grace" in received.text
    assert "UTC" in received.text
    assert mail.to(EVE), "staff receive a digest"
    run("notify")
    assert len(mail.to(ADA)) == 1

    decisions = run("notify", "--explain", SHOP, "--format", "json").json["decisions"]
    assert decisions[0]["action"] == "send"
    listed = run("notice", "list", "--client", "1001", "--format", "json").json["notices"]
    assert [n["state"] for n in listed] == ["sent"]
    number = str(listed[0]["id"])
    shown = run("notice", "show", number, "--format", "json").json
    assert shown["items"][0]["threshold"] == "7"

    with mailbox(root, tmp_path / "imap") as box:
        references = received.mail["References"]
        head = f"From: Ada <{ADA}>\r\nReferences: {references}\r\nSubject: Re\r\n\r\n"
        box.put(f"{head}Wir kümmern uns.\r\n".encode())
        due_installation.config(notify='inbox = "env:INBOX_URL"')
        run("notice", "inbox", INBOX_URL=box.url)
    (answer,) = run("notice", "show", number, "--format", "json").json["answers"]
    assert answer["kind"] == "reply"
    report = run("report", "--support", "--format", "json", "--days", "2").json["support"]
    assert sum(day["sent"] for day in report) == 1
    assert sum(day["acknowledged"] for day in report) == 1


def test_bounce_that_matches_no_notice_is_reported_as_unknown(installation: Installation) -> None:
    done = installation.run("notice", "bounce", input=b"Subject: nothing of ours\r\n\r\n")
    assert "stranger" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("notice", "show", "77"), "There is no notice 77"),
        (("notice", "retry", "77"), "There is no notice 77"),
        (("notice", "ack", "CM-XXXXXX", "--by", "Ada"), "There is no ticket"),
        (("notice", "unsnooze", "5"), "There is no snooze 5"),
        (
            ("notice", "snooze", "--until", "2099-01-01", "--reason", "x"),
            "exactly one scope",
        ),
        (
            ("notice", "snooze", "--client", "1001", "--until", "2001-01-01", "--reason", "x"),
            "would never apply",
        ),
        (("notice", "release", "nothing"), "cannot be released"),
        (("notice", "release", ""), "cannot be released"),
        (("notice", "broadcast", "--deadline", "nothing"), "There is no deadline"),
        (("notice", "inbox"), "no mailbox"),
        (("notify", "--explain", "unknown.example"), "There is no domain 'unknown.example'"),
        (("notify", "--dry-run", "--send-only"), "exclude each other"),
        (("notify", "--format", "csv"), "no CSV output"),
        (("report", "--support", "--client", "1001"), "--support is about all clients"),
        (("report", "--support", "--format", "pdf"), "no pdf"),
        (("contact", "edit", "Ada", "--fallback", "Ada"), "its own fallback"),
        (("contact", "edit", "Ada", "--method", "email:a@b"), "is not an e-mail address"),
        (
            ("contact", "edit", "Ada", "--method", "email:josé@x.example"),
            "is not an e-mail address",
        ),
        (("contact", "edit", "Ada", "--away-until", "2001-01-01"), "has passed"),
        (("contact", "edit", "Ada", "--country", "DE-ZZ"), "is not a country"),
        (("contact", "edit", "Ada", "--country", "Germany"), "is not a country"),
        (("audit", "verify", "--expect", "ab"), "is not a hash of the audit log"),
    ],
)
def test_invalid_input_is_refused_in_one_line(
    installation: Installation,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    done = installation.run(*arguments, expect=None)
    assert done.code in (2, 3)
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("root_servers")
def test_mass_mail_is_confirmed_ahead_shown_while_in_force_and_revocable(
    installation: Installation,
) -> None:
    run = installation.run
    options = ("--until", TOMORROW, "--reason", "the CA revokes")
    made = run("notify", "--allow-clients", "61", *options)
    assert "Confirmation 1: until" in made.out
    listed = run("notice", "list")
    assert "61 clients may be notified at once, 0 were so far: the CA revokes" in listed.err
    doctor = run("doctor", expect=None).out
    assert "61 clients may be notified at once until" in doctor
    assert "certmgr notice disallow 1" in doctor
    run("notice", "disallow", "1")
    shown = run("notice", "list").err + run("doctor", expect=None).out
    assert "61 clients" not in shown
    assert "There is no confirmation 1 in force" in run("notice", "disallow", "1", expect=2).err
    database = open_sqlite(installation.database)
    with database.read() as conn:
        actions = {e.action for e in audit_log.last(conn, 9, "mass_allowance")}
    database.close()
    assert actions == {"allow", "withdraw"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--allow-clients", "61", "--reason", "x"), "--until"),
        (("--allow-clients", "61", "--until", TOMORROW), "--reason"),
        (("--allow-clients", "61", "--until", "2020-01-01", "--reason", "x"), "has passed"),
        (("--allow-clients", "61", "--until", "2036-01-01", "--reason", "x"), "more than 7 days"),
        (("--allow-clients", "5", "--until", TOMORROW, "--reason", "x"), "need no confirm"),
        (("--until", TOMORROW), "belong to --allow-clients"),
        (("--allow-clients", "61", "--dry-run"), "stands alone"),
    ],
)
def test_confirmation_ahead_that_cannot_hold_is_refused(
    installation: Installation, options: tuple[str, ...], message: str
) -> None:
    assert message in installation.run("notify", *options, expect=2).err


@pytest.mark.usefixtures("root_servers")
def test_each_until_takes_a_time_of_today_or_tomorrow_in_the_time_zone_of_the_provider(
    installation: Installation,
) -> None:
    path = installation.folder / "certmgr.toml"
    path.write_text(path.read_text().replace("[trust]", 'time_zone = "Europe/Berlin"\n[trust]'))
    clock.reset(datetime(2026, 11, 29, 7, tzinfo=UTC))  # 08:00 in Berlin
    run = installation.run
    for until, day in (("09:30", "2026-11-29 09:30"), ("07:30", "2026-11-30 07:30")):
        ahead = ("--until", until, "--reason", "x")
        calls = (
            ("notify", "--allow-clients", "61", *ahead),
            ("notice", "snooze", "--everything", *ahead),
            ("finding", "accept", "hsts-missing", "--everywhere", *ahead),
            ("finding", "assign", "hsts-missing", "--everywhere", "--by", "Ines", *ahead),
        )
        for call in calls:
            assert day in run(*call).out.replace("\n", " "), call
        # Its day only is printed.
        run("contact", "add", f"Ada {until[:2]}", "--client", "1001", "--away-until", until)
    night = ("--from", "22:00", "--until", "06:00", "--reason", "maintenance")
    assert "2026-11-30 06:00" in run("notice", "snooze", "--everything", *night).out


def test_held_notices_are_listed_with_their_site_and_released_by_it(
    installation: Installation,
) -> None:
    run, host = installation.run, "held.example.test"
    database = open_sqlite(installation.database)
    with database.write(clock()) as tx:
        domains.add(tx, host, {"client": "1001"})
        site = builders.site(tx, host)
        owner = clients.find(tx.conn, "1001").id
        for number, cause in enumerate(("certificate 0a1b2c3d of X name-mismatch", "other cause")):
            key = f"fault:{site.endpoint_id}:{owner}:{number}"
            values = {"cause": cause, "domain_id": site.domain_id, "endpoint_id": site.endpoint_id}
            ticket_id = builders.add_ticket(tx, owner, key, **values)
            tickets.change(tx, ticket_id, hold="baseline 0 0")
    shown = run("notice", "release").out
    assert "SITES" in shown
    assert host in shown
    assert "2 causes match" in run("notice", "release", host, expect=2).err
    with database.write(clock()) as tx:
        tickets.change(tx, ticket_id, released_at=tx.at)
    shown = run("notice", "release").out
    assert "0a1b2c3d" not in shown, "a person recognises the site"
    assert f"To release: certmgr notice release {host}" in shown
    assert "1 ticket(s) of 1 client(s) are released" in run("notice", "release", host.upper()).out
    database.close()
