"""Tests of ``certmgr notice``: from a scan to the mail and its reply, and invalid input."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from tests.certmgr.installation import ADA, EVE, SHOP, Installation
from tests.servers.mail import mailbox


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
        (("notice", "ack", "CM-XXXXXX", "--by", "Ada"), "There is no matter"),
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
        (("notify", "--explain", "unknown.example"), "has no name 'unknown.example'"),
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
