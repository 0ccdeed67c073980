"""Notices as their users meet them: the program itself, a real TLS server, a real mail server, a real mailbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.demo import servers as demo_servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from inventory.clock import system_clock
from tests import program
from tests.clock import clock
from tests.databases import write_sqlite
from tests.program import Ran
from tests.servers.mail import MailServer, mail_server, mailbox
from tests.servers.real import dns

DAY = timedelta(days=1)


@dataclass
class Place:
    """A configured certmgr with one client, whose site is served by a real server."""

    folder: Path
    mail: MailServer
    root: Authority
    site: Server
    lines: list[str]

    def config(self, *more: str, notify: str = "") -> None:
        text = [
            '[provider]\nname = "Example Hosting"', f'[trust]\nca_files = ["{self.folder / "root.pem"}"]', '[network]\nallow = ["127.0.0.0/8"]',
            '[scan]\nper_address = 0\nrate = 0.0\ntimeout = 3.0', "[http]\nenabled = false",
            # Tests run on Sundays and at night too.
            f'[notify]\nmail = "env:MAIL_URL"\nrate = 0.0\ntimeout = 6.0\nopens = "00:00"\ncloses = "23:59:59"\nworking_days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]\nanswer = "one working day"\n{notify}', *more,
        ]  # fmt: skip
        (self.folder / "certmgr.toml").write_text("\n".join(text))

    def run(self, *arguments: str, input: bytes | None = None, expect: int | None = 0, **environment: str) -> Ran:
        options = ("--config", str(self.folder / "certmgr.toml"), "--database", str(self.folder / "x.db"))
        ran = program.run((*options, *arguments), clock, input=input, environment=self.environment | environment)
        assert expect is None or ran.code == expect, (ran.out, ran.err)
        return ran

    @property
    def environment(self) -> dict[str, str]:
        return {"SSL_CERT_FILE": str(self.folder / "root.pem"), "MAIL_URL": self.mail.url}


@pytest.fixture
def place(root: Authority, issuer: Authority, tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "root.pem").write_bytes(root.pem)
    write_sqlite(tmp_path / "x.db")
    now = clock()
    issued = issuer.issue("shop.example.test", not_before=now - 391 * DAY, not_after=now + timedelta(days=6, hours=12))
    site = Server(demo_servers.tls(server_context(issued)))
    with mail_server(root, tmp_path / "mail") as mail:
        made = Place(tmp_path, mail, root, site, [])
        made.config()
        made.run(
            "client",
            "add",
            "1001",
            "Rosen GmbH",
            "--renews",
            "client",
            "--buys",
            "client",
            "--hosts",
            "us",
            "--account-manager",
            "Grace",
        )
        made.run(
            "contact",
            "add",
            "Ada",
            "--client",
            "1001",
            "--way",
            "email:ada@rosen.example.test",
            "--language",
            "de",
            "--time-zone",
            "Europe/Berlin",
        )
        made.run("contact", "add", "Eve", "--role", "administrator", "--way", "email:eve@provider.example.test")
        made.run("domain", "add", "parked.example.test", "--client", "1001", "--purpose", "parked")
        yield made
    site.close()


def add_site(place: Place) -> None:
    place.run("domain", "add", "shop.example.test", "--client", "1001")
    place.run("endpoint", "add", f"shop.example.test:{place.site.port}", "--address", "127.0.0.1")
    place.run("endpoint", "retire", "shop.example.test:443")
    place.run("endpoint", "retire", "parked.example.test:443", expect=None)


def due(place: Place) -> None:
    """The first sight is over, and then the shop is there."""
    add_site(place)
    place.run("scan", expect=None)
    place.run("notify", "--queue-only")
    held = place.run("notice", "release", "--format", "json").json["held"]
    for row in held:
        place.run("notice", "release", row["cause"])


def test_from_the_scan_to_the_mail_and_back(place: Place, root: Authority, tmp_path: Path) -> None:
    due(place)
    dry = place.run("notify", "--dry-run")
    assert "shop.example.test" in dry.out
    assert "Nothing was queued or sent" in dry.out
    place.run("notice", "preview", "--output", str(tmp_path / "eml"))
    assert any(b"X-Certmgr-Notice" in p.read_bytes() for p in (tmp_path / "eml").iterdir())
    assert place.mail.received == []
    quiet = place.run("notify")
    assert (quiet.out, quiet.err) == ("", ""), "silent when all is well"
    (mail,) = place.mail.to("ada@rosen.example.test")
    assert "Sie müssen" in mail.text, "in her language"
    assert "shop.example.test" in mail.subject
    assert "Grace" in mail.text
    assert "UTC" in mail.text
    assert place.mail.to("eve@provider.example.test"), "staff have their digest"
    place.run("notify")
    assert len(place.mail.to("ada@rosen.example.test")) == 1
    explained = place.run("notify", "--explain", "shop.example.test", "--format", "json").json["decisions"]
    assert explained[0]["action"] == "send"
    listed = place.run("notice", "list", "--client", "1001", "--format", "json").json["notices"]
    assert [n["state"] for n in listed] == ["sent"]
    shown = place.run("notice", "show", str(listed[0]["id"]), "--format", "json").json
    assert shown["items"][0]["threshold"] == "7"
    # She answers, and the answer comes by the mailbox.
    with mailbox(root, tmp_path / "imap") as box:
        answer = f"From: Ada <ada@rosen.example.test>\r\nReferences: {mail.mail['References']}\r\nSubject: Re\r\n\r\nWir kümmern uns.\r\n"
        box.put(answer.encode())
        place.config(notify='inbox = "env:INBOX_URL"')
        assert place.run("notice", "inbox", INBOX_URL=box.url).code == 0
    answers = place.run("notice", "show", str(listed[0]["id"]), "--format", "json").json["answers"]
    assert [(a["kind"], a["text"]) for a in answers] == [("reply", "Wir k?mmern uns.")] or answers[0]["kind"] == "reply"
    support = place.run("report", "--support", "--format", "json", "--days", "2").json["support"]
    assert sum(d["sent"] for d in support) == 1
    assert sum(d["acknowledged"] for d in support) == 1


def test_a_secret_that_is_written_wrong_is_not_shown(place: Place) -> None:
    for wrong in ("certmgr:s3cret-word@smtp.example.test", "s3cret-word", "mailtos:certmgr:s3cret-word@localhost"):
        done = place.run("notify", expect=2, MAIL_URL=wrong)
        assert "s3cret-word" not in done.out + done.err
        assert "unknown kind" in done.err
        assert "s3cret-word" not in place.run("doctor", expect=None, MAIL_URL=wrong).out


def test_a_bounce_by_a_pipe(place: Place) -> None:
    done = place.run("notice", "bounce", input=b"Subject: nothing of ours\r\n\r\n")
    assert "stranger" in done.out


def test_run_is_silent_when_well_and_says_one_line_when_not(place: Place) -> None:
    add_site(place)
    done = place.run("run")
    assert (done.out, done.err) == ("", "")
    place.site.close()
    place.config(notify='heartbeat = "https://localhost:1/beat"')
    done = place.run("run", "--no-scan", expect=3)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert "heartbeat" in done.err
    metrics = place.run("metrics").out
    assert 'certmgr_last_success_timestamp_seconds{job="notify"}' in metrics
    assert 'certmgr_last_success_timestamp_seconds{job="run"}' in metrics
    assert 'certmgr_notices{state="queued"}' in metrics


def test_a_dead_resolver_reaches_no_client(place: Place) -> None:
    """A real name server that begins to answer SERVFAIL: the run is suspect, clients hear nothing, staff hear of it."""
    answers: dict[str, Any] = {}
    for n in range(8):
        place.run("domain", "add", f"d{n}.example.test", "--client", "1001")
        place.run("endpoint", "add", f"d{n}.example.test:{place.site.port}")
        place.run("endpoint", "retire", f"d{n}.example.test:443")
        answers[f"d{n}.example.test"] = ["127.0.0.1"]
    place.run("endpoint", "retire", "parked.example.test:443", expect=None)
    with dns(answers) as resolver:
        place.config('[database]\nurl = ""', notify="")
        text = (place.folder / "certmgr.toml").read_text().replace("[scan]\n", f'[scan]\nresolvers = ["{resolver}"]\n')
        (place.folder / "certmgr.toml").write_text(text)
        place.run("scan", expect=None)
        place.run("notify")
        for row in place.run("notice", "release", "--format", "json").json["held"]:
            place.run("notice", "release", row["cause"])
        for name in answers:
            answers[name] = "SERVFAIL"
        assert "suspect" in place.run("scan", expect=3).err
        before = len(place.mail.to("ada@rosen.example.test"))
        done = place.run("notify", expect=3)
        assert "client messages are held: the last run" in done.err
        assert len(place.mail.to("ada@rosen.example.test")) == before == 0
        alarms = [m for m in place.mail.to("eve@provider.example.test") if "held" in m.subject]
        assert len(alarms) == 1
        place.run("notify", expect=3)
        assert len([m for m in place.mail.to("eve@provider.example.test") if "held" in m.subject]) == 1, "one alarm a day"


def test_a_broadcast_goes_through_the_queue_in_portions(place: Place) -> None:
    for number in ("1002", "1003"):
        place.run("client", "add", number, f"Client {number}")
        place.run("contact", "add", f"Owner {number}", "--client", number, "--way", f"email:owner@c{number}.example.test")
        place.run("domain", "add", f"c{number}.example.test", "--client", number)
    place.run(
        "deadline",
        "add",
        "https-2027",
        "--date",
        "2027-06-30",
        "--rule",
        "https-only",
        "--title",
        "All sites on HTTPS",
        "--text",
        "From then on HTTP is switched off.",
    )
    dry = place.run("notice", "broadcast", "--deadline", "https-2027", "--dry-run")
    assert "3 client(s) would get it" in dry.out
    made = place.run("notice", "broadcast", "--deadline", "https-2027", "--per-day", "2")
    assert "3 client(s) get it, 2 a day" in made.out
    assert "3 had it before" in place.run("notice", "broadcast", "--deadline", "https-2027").out
    place.run("notify")
    got = [m for m in place.mail.received if "All sites on HTTPS" in m.subject]
    assert len(got) == 2
    assert len({m.to for m in got}) == 2
    assert all("From then on HTTP is switched off." in m.text for m in got)
    place.run("notify")
    assert len([m for m in place.mail.received if "All sites on HTTPS" in m.subject]) == 2, "the rest goes tomorrow"
    for mail in got:
        others = {"1002", "1003"} - {mail.to[7:11]}
        assert not any(f"c{n}.example.test" in mail.text for n in others)


@pytest.mark.parametrize(("arguments", "word"), [
    (("notice", "show", "77"), "There is no notice 77"), (("notice", "retry", "77"), "There is no notice 77"),
    (("notice", "ack", "CM-XXXXXX", "--by", "Ada"), "There is no matter"), (("notice", "wake", "5"), "There is no snooze 5"),
    (("notice", "snooze", "--until", "2099-01-01", "--reason", "x"), "about one thing"),
    (("notice", "snooze", "--client", "1001", "--until", "2001-01-01", "--reason", "x"), "never hold"),
    (("notice", "release", "nothing"), "cannot be released"), (("notice", "broadcast", "--deadline", "nothing"), "There is no deadline"),
    (("notify", "--explain", "nobody.example"), "There is no name"), (("notice", "inbox"), "no mailbox"),
    (("report", "--support", "--client", "1001"), "--support is about all clients"), (("report", "--support", "--format", "pdf"), "no pdf"),
(("notify", "--dry-run", "--send-only"), "exclude each other"), (("notify", "--format", "csv"), "no csv"), (("notice", "release", ""), "cannot be released"),
    (("contact", "edit", "Ada", "--fallback", "Ada"), "their own fallback"), (("contact", "edit", "Ada", "--way", "email:a@b"), "is not an e-mail address"),
    (("contact", "edit", "Ada", "--way", "email:josé@x.example"), "is not an e-mail address"), (("contact", "edit", "Ada", "--away-until", "2001-01-01"), "has passed"),
    (("contact", "edit", "Ada", "--country", "DE-ZZ"), "is not a country"),
        (("contact", "edit", "Ada", "--country", "Germany"), "is not a country"), (("audit", "verify", "--expect", "ab"), "was cut"),
])  # fmt: skip
def test_wrong_input_has_one_clear_line(place: Place, arguments: tuple[str, ...], word: str) -> None:
    done = place.run(*arguments, expect=None)
    assert done.code in (2, 3)
    assert word in done.err
    assert len(done.err.splitlines()) == 1
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("notify", "word"), [
    ('thresholds = ["soon"]', "thresholds has"), ('thresholds = ["tag:=30"]', "thresholds has"), ('freezes = ["Christmas"]', "freezes has"),
    ('freezes = ["2027-01-06/2026-12-20"]', "ends before it begins"), ('country = "ZZ"', "country 'ZZ' is unknown"), ('channels = ["nothing"]', "each is name=URL"),
    ('channels = ["desk=mailtos://u:secret-word@h.example?from=a@b.example"]', "is a mail channel"), ('channels = ["desk=json://h.example/secret-word"]', "not encrypted"),
    ('templates = "/nowhere"', "is not a directory"), ("digest_hour = 25", "it is an hour"), ("mass_percent = 200.0", "cannot be so"), ('unknown = "x"', "unknown key"),
])  # fmt: skip
def test_a_wrong_configuration_is_said_before_anything_is_decided(place: Place, notify: str, word: str) -> None:
    place.config(notify=notify)
    done = place.run("notify", expect=2)
    assert word in done.err
    assert "secret-word" not in done.err
    assert len(done.err.splitlines()) == 1


def test_templates_of_ones_own(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "client.de.txt.j2").write_text("Eigener Text: {{ m.lead }}\n")
    (folder / "client.de.html.j2").write_text("<p>Eigener Text: {{ m.lead }} {{ m.blocks[0].heading }}</p>\n")
    place.config(notify=f'templates = "{folder}"')
    due(place)
    place.run("notify")
    assert "Eigener Text" in place.mail.to("ada@rosen.example.test")[0].text
    for broken, word in (
        ("{{ m.nothing }}", "nothing"), ("{% if %}", "client.de.txt.j2, line 1"), ("{{ ''.__class__.__mro__ }}", "unsafe"), ("{{ 'x' * 99999999 }}", "characters"),
    ):  # fmt: skip
        (folder / "client.de.txt.j2").write_text(broken)
        done = place.run("notify", expect=2)
        assert word in done.err, done.err
        assert len(done.err.splitlines()) == 1


def test_doctor_tells_what_is_missing_and_what_to_do(place: Place) -> None:
    with dns({"": "NODATA", ".": "NODATA", "provider.example": "NODATA"}) as resolver:
        text = (place.folder / "certmgr.toml").read_text().replace("[scan]\n", f'[scan]\nresolvers = ["{resolver}"]\n')
        (place.folder / "certmgr.toml").write_text(text)
        done = place.run("doctor", "--format", "json", expect=None)
        lines = {(r["check"], r["state"]): r for r in done.json["doctor"]}
        assert ("SPF", "warning") in lines
        assert ("staff", "ok") in lines
        assert ("audit log", "ok") in lines
        assert ("resolver", "ok") in lines
        assert ("runs", "warning") in lines
        assert all(r["todo"] for r in done.json["doctor"] if r["state"] == "fault")
        secret = place.folder / "mail.url"
        secret.write_text(place.mail.url)
        secret.chmod(0o644)
        (place.folder / "certmgr.toml").write_text(text.replace("env:MAIL_URL", f"file:{secret}"))
        done = place.run("doctor", expect=3)
        assert "can be read by others" in done.out
        assert f"chmod 600 {secret}" in done.out
    place.config(notify="")
    (place.folder / "certmgr.toml").write_text(
        (place.folder / "certmgr.toml")
        .read_text()
        .replace("env:MAIL_URL", "mailtos://u:p@localhost:1?smtp=localhost&from=a@b.example")
    )
    done = place.run("doctor", expect=3)
    assert "✗ fault\tmail server" in done.out


def test_doctor_warns_of_a_mail_server_whose_certificate_ends_soon(place: Place, root: Authority) -> None:
    # A mail library compares the certificate with the system's clock, so doctor has that clock too.
    now = system_clock()
    soon = root.issue("localhost", not_before=now - DAY, not_after=now + 5 * DAY)
    with mail_server(root, place.folder / "soon", soon) as mail:
        options = ("--config", str(place.folder / "certmgr.toml"), "--database", str(place.folder / "x.db"))
        environment = place.environment | {"MAIL_URL": mail.url}
        done = program.run((*options, "doctor", "--format", "json"), system_clock, environment=environment)
    found = {r["check"]: r for r in done.json["doctor"]}
    assert found["mail server"]["state"] == "warning"


def test_the_audit_chain_shows_what_was_changed_or_cut(place: Place) -> None:
    head = place.run("audit", "verify").out.split()[-1]
    assert "follow each other" in place.run("audit", "verify", "--expect", head).out
    listed = place.run("audit", "list", "--format", "json").json["entries"]
    whole = json.dumps(listed)
    for personal in ("Rosen", "Ada", "ada@rosen", "shop.example", "parked.example", "Grace"):
        assert personal not in whole, "ids, and no personal data"
    import sqlite3

    from inventory.database import sqlite_module

    connection: sqlite3.Connection = sqlite_module().connect(place.folder / "x.db")
    connection.execute("UPDATE audit SET actor = 'somebody else' WHERE id = 2")
    connection.commit()
    assert "entry 2 does not follow" in place.run("audit", "verify", expect=3).err
    connection.execute("DELETE FROM audit WHERE id >= 2")
    connection.commit()
    connection.close()
    assert "1 entries follow" in place.run("audit", "verify").out, "a cut tail shows only against a head that left the machine"
    assert "was cut" in place.run("audit", "verify", "--expect", head, expect=3).err


def test_a_client_is_erased_and_the_chain_stays_valid(place: Place) -> None:
    due(place)
    place.run("notify")
    place.run(
        "deadline",
        "add",
        "move",
        "--date",
        "2099-12-01",
        "--client",
        "1001",
        "--title",
        "Migration of Rosen",
        "--rule",
        "https-only",
    )
    asked = place.run("client", "erase", "1001")
    assert "Nothing was changed" in asked.out
    assert place.run("client", "show", "1001").code == 0
    place.run("client", "erase", "1001", "--yes")
    assert "follow each other" in place.run("audit", "verify").out
    from contextlib import closing

    from inventory.database import sqlite_module

    with closing(sqlite_module().connect(place.folder / "x.db")) as connection:
        tables = [r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        dump = "\n".join(repr(row) for table in tables for row in connection.execute(f'SELECT * FROM "{table}"'))
    for personal in ("Rosen GmbH", "ada@rosen", "shop.example", "parked.example", "Grace"):
        assert personal not in dump, personal
    assert "Eve" in dump, "staff stay"
    assert place.run("client", "show", "1001", expect=2).code == 2
    raw = b"".join(p.read_bytes() for p in place.folder.glob("x.db*"))
    for trace in (b"Rosen GmbH", b"ada@rosen", b"shop.example.test", b"Migration of Rosen"):
        assert trace not in raw, "free pages hold nothing of it"
    assert place.run("deadline", "list", "--own", "--format", "json").json["deadlines"] == [], (
        "what was for this client alone is for nobody"
    )


def test_a_locked_database_says_so_and_loses_nothing(place: Place) -> None:
    from contextlib import closing

    from inventory.database import sqlite_module

    due(place)
    with closing(sqlite_module().connect(place.folder / "x.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        done = place.run("notify", expect=3, CERTMGR_DATABASE_LOCK_TIMEOUT="0.5")
        assert "cannot be used" in done.err
        assert "locked" in done.err
        holder.execute("ROLLBACK")
    assert place.mail.received == []
    place.run("notify")
    assert len(place.mail.to("ada@rosen.example.test")) == 1


def test_a_full_disk_says_so_and_loses_nothing(place: Place) -> None:
    """The process may not let a file grow: SQLite meets what it meets on a full disk."""
    due(place)
    limit = (
        "import resource, sys, runpy; size = __import__('os').path.getsize(sys.argv[1]); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY)); sys.argv = ['certmgr', *sys.argv[2:]]; runpy.run_module('certmgr', run_name='__main__')"
    )
    database = str(place.folder / "x.db")
    command = [
        sys.executable,
        "-c",
        limit,
        database,
        "--config",
        str(place.folder / "certmgr.toml"),
        "--database",
        database,
        "notify",
    ]
    trust = {"SSL_CERT_FILE": str(place.folder / "root.pem"), "MAIL_URL": place.mail.url}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **trust})
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.mail.received == []
    assert "follow each other" in place.run("audit", "verify").out
    place.run("notify")
    assert len(place.mail.to("ada@rosen.example.test")) == 1
