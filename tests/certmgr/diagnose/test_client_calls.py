"""A client calls: one call of ``certmgr diagnose`` tells the support agent what happened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from inventory.store import outbox
from tests.certmgr.diagnose.test_foreign_record import NAME, _diagnosis, moved
from tests.certmgr.installation import ADA, Installation
from tests.certmgr.scenes.numbers import faulty_names, named_in_digest
from tests.clock import clock
from tests.databases import open_sqlite

REFUSED = "550 5.1.1 <ada@rosen.example.test>: no such user"

__all__ = ["moved"]


@pytest.fixture
def told(moved: Installation) -> Iterator[Installation]:
    """The client was notified of the record, and the mail was refused."""
    moved.run("scan", expect=1)
    moved.run("notify", "--queue-only")
    moved.release_all()
    moved.mail.answers = lambda stage, to: REFUSED if to == ADA else None
    moved.run("notify", expect=None)
    yield moved


def test_one_diagnosis_names_the_record_the_returned_notice_and_the_account_manager(
    told: Installation,
) -> None:
    shown = told.run(
        "diagnose", told.site_url, "--http-port", "9", "--language", "de", expect=1
    ).out
    # The record, and who deletes it.
    assert f"delete the AAAA record ::1 of {NAME}" in shown
    # The notice did not arrive, and why.
    assert "not delivered" in shown
    assert "no such user" in shown
    assert "none yet" not in shown
    assert "account manager Grace" in shown
    # One sentence to send, in her language.
    message = told.run("diagnose", told.site_url, "--http-port", "9", "--message", expect=1).out
    assert f"Bitte löschen Sie den AAAA-Eintrag ::1 von {NAME}." in message
    assert "Grace" in message


def test_history_tells_of_the_finding_the_refused_notice_and_the_record(
    told: Installation,
) -> None:
    found = _diagnosis(told)["context"]
    (notice,) = found["told"]
    assert notice["state"] in ("failed", "dead")
    assert "no such user" in notice["error"]
    lines = told.run("domain", "show", NAME, "--history", "--format", "json").json["history"]
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    kinds = {line["kind"] for line in lines}
    assert {"observation", "finding", "notice", "record"} <= kinds
    texts = "\n".join(line["text"] for line in lines)
    assert "foreign-address (critical) opened at ::1" in texts
    assert "no such user" in texts
    page = told.run("domain", "show", NAME).out
    assert "not delivered" in page


def test_message_that_is_held_is_shown_with_its_reason(moved: Installation) -> None:
    moved.run("scan", expect=1)
    moved.run("notify", "--queue-only")
    found = _diagnosis(moved)["context"]
    assert found["told"] == []
    (held,) = [h for h in found["held"] if h["topic"] == "foreign-address"]
    assert held["action"] == "hold"
    assert held["reason"]
    shown = moved.run("diagnose", moved.site_url, "--http-port", "9", expect=1).out
    assert "foreign-address: held since" in shown
    assert "none yet" not in shown


def test_message_that_waits_in_the_queue_is_shown(moved: Installation) -> None:
    moved.run("scan", expect=1)
    moved.run("notify", "--queue-only")
    moved.release_all()
    moved.run("notify", "--queue-only")
    (notice,) = _diagnosis(moved)["context"]["told"]
    assert (notice["state"], notice["sent_at"]) == ("queued", None)
    assert "waits since" in moved.run("domain", "show", NAME).out


def test_history_of_another_client_is_not_shown(told: Installation) -> None:
    """The history of a domain of another client names nothing of this one."""
    told.run("client", "add", "1002", "Other GmbH", "--hosts", "us")
    told.run("domain", "add", "other.example.test", "--client", "1002")
    lines = told.run("domain", "show", "other.example.test", "--history").out
    assert NAME not in lines
    assert ADA not in lines


def test_history_is_in_the_time_zone_of_the_provider(told: Installation) -> None:
    path = told.folder / "certmgr.toml"
    path.write_text(
        path.read_text().replace("[provider]", '[provider]\ntime_zone = "Asia/Kolkata"')
    )
    lines = told.run("domain", "show", NAME, "--history", "--format", "json").json["history"]
    local = (clock() + timedelta(hours=5, minutes=30)).strftime("%H:")
    assert any(local in line["local"] for line in lines), (local, lines)


def test_notice_that_came_back_after_it_was_sent_keeps_its_reason(moved: Installation) -> None:
    """The mail server of the client accepted it, and returned it later."""
    moved.run("scan", expect=1)
    moved.run("notify", "--queue-only")
    moved.release_all()
    moved.run("notify")
    (sent,) = _diagnosis(moved)["context"]["told"]
    assert sent["state"] == "sent"
    database = open_sqlite(moved.database)
    with database.write() as tx:
        outbox.bounced(tx, sent["notice"], "552 5.2.2 mailbox full")
    database.close()
    (returned,) = _diagnosis(moved)["context"]["told"]
    assert returned["notice"] == sent["notice"]
    assert "552 5.2.2 mailbox full" in returned["error"]
    shown = moved.run("diagnose", moved.site_url, "--http-port", "9", expect=1).out
    assert "not delivered" in shown
    assert "mailbox full" in shown


def test_all_parts_count_the_same_faults_while_the_client_calls(told: Installation) -> None:
    clients = [c["number"] for c in told.run("client", "list", "--format", "json").json["clients"]]
    counted = faulty_names(told, clients)
    assert set(counted.values()) == {1}, counted
    # The next digest names the same fault, and the client whom the returned mail did not reach.
    clock.advance(days=1)
    told.mail.received.clear()
    told.run("notify", expect=None)
    (digest,) = [m for m in told.mail.received if m.to != ADA]
    assert named_in_digest(digest.text) == {"foreign-address": 1}, digest.text
    assert "1 client to call" in digest.subject
