"""Announcements to many clients."""

from __future__ import annotations

from tests.certmgr.installation import Installation
from tests.servers.mail import Received


def test_broadcast_is_sent_in_daily_portions_and_names_no_other_client(
    installation: Installation,
) -> None:
    run = installation.run
    for number in ("1002", "1003"):
        owner = ("--client", number, "--method", f"email:owner@c{number}.example.test")
        run("client", "add", number, f"Client {number}")
        run("contact", "add", f"Owner {number}", *owner)
        run("domain", "add", f"c{number}.example.test", "--client", number)
    title, text = "All sites on HTTPS", "From then on HTTP is switched off."
    wording = ("--title", title, "--text", text)
    run("deadline", "add", "https-2027", "--date", "2027-06-30", "--rule", "https-only", *wording)
    broadcast = ("notice", "broadcast", "--deadline", "https-2027")
    assert "3 client(s) would receive it" in run(*broadcast, "--dry-run").out
    assert "3 client(s) will receive it, 2 per day" in run(*broadcast, "--per-day", "2").out
    assert "3 received it before" in run(*broadcast).out

    def received() -> list[Received]:
        return [m for m in installation.mail.received if title in m.subject]

    run("notify")
    first = received()
    assert len(first) == 2
    assert len({m.to for m in first}) == 2
    assert all(text in m.text for m in first)
    run("notify")
    assert len(received()) == 2, "the rest is sent tomorrow"
    for mail in first:
        others = {"1002", "1003"} - {mail.to[7:11]}
        assert not any(f"c{number}.example.test" in mail.text for number in others)


def test_announcement_that_cannot_be_sent_stops_no_other_notice(
    installation: Installation,
) -> None:
    """One is withdrawn with its deadline; one waits for its template; the third is sent."""
    run = installation.run
    folder = installation.folder / "templates"
    folder.mkdir()
    for kind in ("txt", "html"):
        (folder / f"own.{kind}.j2").write_text("{{ m.subject }} {{ m.text }}")
    installation.config(f'templates = "{folder}"')
    for name in ("retired", "lost", "sent"):
        rule = ("--date", "2027-06-30", "--rule", "https-only", "--title", f"Rule {name}")
        run("deadline", "add", name, *rule, "--text", "Text.")
        template = ("--template", "own") if name == "lost" else ()
        run("notice", "broadcast", "--deadline", name, *template)
    run("deadline", "retire", "retired")
    for kind in ("txt", "html"):
        (folder / f"own.{kind}.j2").unlink()

    def announced() -> list[str]:
        subjects = [m.subject for m in installation.mail.received]
        return [n for s in subjects for n in ("retired", "lost", "sent") if f"Rule {n}" in s]

    first = run("notify", expect=3)
    assert announced() == ["sent"]
    assert "announcement of 'retired' was dropped: the deadline 'retired' is retired" in first.err
    assert "announcement of 'lost' was not sent and is tried again" in first.err
    second = run("notify", expect=3)
    assert "'retired'" not in second.err
    for kind in ("txt", "html"):
        (folder / f"own.{kind}.j2").write_text("{{ m.subject }} {{ m.text }}")
    run("notify")
    assert announced() == ["sent", "lost"]
