"""A property: what is made for one client contains nothing that is only another client's.

Two clients share what clients of a hosting provider share: a server, an address, a certificate, a
registered domain, a reseller, tags. Every text that belongs to one of them contains a mark, in
names, notes, purchases, cases and reasons. The output of each command that is limited to the other
client, and every message to the other, is searched for the mark.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from certmgr.cli.main import cli
from certmgr.demo.authority import Authority
from inventory.models import Client, Contact, Notice
from notifiers.inbox.classify import InboundMail, parse_head, parse_whole
from notifiers.inbox.process import MailParserProcess
from tests.campaign import SOAK, size
from tests.certmgr.net.server import serving
from tests.certmgr.two_clients import Provider, World, mark, worlds
from tests.clock import START
from tests.databases import one_engine
from tests.notifiers.inbox import mails


def _kind(world: World) -> tuple[str, ...]:
    """Return the options of a report that show more than its JSON."""
    return ("--as-of", "2026-12-24") if world.report == "as-of" else ("--format", world.report)


def _reseller_calls(world: World) -> Iterator[tuple[str, ...]]:
    scoped = ("--client", "9")
    yield ("report", *scoped, "--format", "json")
    yield ("report", *scoped, *_kind(world))
    yield ("calendar", *scoped)
    yield ("purchase", "export", *scoped)
    yield ("status", *scoped, "--all", "--format", "json")


def _calls(number: str, world: World, ports: dict[str, int]) -> Iterator[tuple[str, ...]]:
    scoped, form, language = ("--client", number), world.form, world.language
    yield ("report", *scoped, "--format", "json", "--language", "en")
    yield ("report", *scoped, *_kind(world), "--language", language)
    yield ("calendar", *scoped)
    for kind in ("csv", "json"):
        yield ("purchase", "export", *scoped, "--format", kind)
    listed = (*scoped, "--format", form)
    yield ("compliance", *listed, "--all")
    yield ("status", *listed, "--all")
    yield ("domain", "list", *listed)
    yield ("endpoint", "list", *listed)
    yield ("contact", "list", *listed)
    yield ("finding", "list", *listed)
    yield ("finding", "list", *listed, "--accepted")
    yield ("forecast", *listed, "--until", "2027-11-25")
    yield ("lineage", "list", *listed)
    yield ("notice", "list", *listed)
    yield ("purchase", "list", *listed, "--all")
    yield ("purchase", "billing", "--month", "2026-11", *listed)
    yield ("trust", "ends", *listed)
    yield ("case", "measures", *listed)
    yield ("client", "show", number, "--format", form)
    yield ("lineage", "show", f"{mark(number)}-lineage", "--format", form)
    yield ("case", "list", *listed, "--all")
    yield ("revocation", *listed)
    sites = [*world.names[number], *([world.moved] if number == "2" and world.moved else [])]
    for name in sites if SOAK else sites[-1:]:
        yield ("domain", "show", name, "--history", "--format", form)
        yield ("endpoint", "show", f"{name}:{ports[number]}", "--format", form)
    yield ("status", *scoped, "--all", "--verbose")
    yield ("status", *scoped, "--causes")
    yield ("check", *scoped)
    yield ("forecast", *scoped, "--until", "2027-11-25", "--chart")
    yield ("purchase", "show", f"{mark(number)}-77")
    host, port = world.names[number][0], ports[number]
    there = ("--internal", "--resolve", f"{host}:{port}:127.0.0.1")
    message = ("--message", "--escalate", "--language", language, *there)
    yield ("diagnose", f"https://{host}:{port}/", *message)


def _outputs(provider: Provider, number: str) -> Iterator[tuple[str, str]]:
    """Yield (what, text) of each output that is for one client."""
    calls = (
        _calls(number, provider.world, provider.ports)
        if number in provider.ports
        else _reseller_calls(provider.world)
    )
    for call in calls:
        yield " ".join(call), provider.call(*call, codes=(0, 1, 2, 3)).out
    recipients = select(Contact.id).join(Client, Client.id == Contact.client_id)
    with provider.database.read() as conn:
        query = select(Notice).where(
            Notice.contact_id.in_(recipients.where(Client.number == number))
        )
        notices = [dict(row) for row in conn.execute(query).mappings()]
    for notice in notices:
        yield f"notice {notice['id']}", json.dumps(notice, default=str)
        yield "notice show", provider.call("notice", "show", str(notice["id"])).out
    # The last one, so that the fallback contact of the first case is notified as well.
    for notice in notices[-1:]:
        yield from _answers(provider, number, notice)
    yield "import", _import(provider, number)
    cases = provider.call("case", "list", "--all", "--format", "json").json["cases"]
    for case in cases:
        if str(case["client"]) == number:
            yield from _case(provider, case["reference"])


def _answers(provider: Provider, number: str, notice: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is printed and composed after a reply and a delivery report for a notice."""
    notice_mark, sender = f"{notice['id']}.{notice['secret']}", f"owner@{mark(number)}.mail.test"
    failed = f"Final-Recipient: rfc822;{sender}\nAction: failed\nStatus: 5.1.1\n"
    for mail in (mails.reply(), mails.report(failed)):
        own = mail.replace(mails.MARK.encode(), notice_mark.encode())
        own = own.replace(mails.OWNER.encode(), sender.encode())
        yield "notice bounce", provider.call("notice", "bounce", input=own).out
    provider.call("notify", "--queue-only", codes=(0, 3))
    yield "notice show", provider.call("notice", "show", str(notice["id"])).out


def _import(provider: Provider, number: str) -> str:
    """Return what a dry run reports for a list of this client with names of all clients."""
    names = [n for found in provider.world.names.values() for n in found]
    # The list itself has the names; what it must not disclose are the records of their owner.
    known = {n: f"n{i}.listed.test" for i, n in enumerate(names)}
    source = provider.folder / "list.csv"
    lines = [f"{number},{name}" for name in (*names, provider.world.moved or "new.test")]
    source.write_text("\n".join(["client,domain", *lines]))
    arguments = ("import", str(source), "--client", number, "--dry-run")
    done = provider.call(*arguments, codes=(0, 1, 2, 3))
    text = done.out + done.err
    for name, replaced in known.items():
        text = text.replace(name, replaced)
    return text


def _case(provider: Provider, reference: str) -> Iterator[tuple[str, str]]:
    yield "case show", provider.call("case", "show", reference).out
    yield "case show json", provider.call("case", "show", reference, "--format", "json").out
    request, package = provider.folder / f"{reference}.csr", provider.folder / f"{reference}.zip"
    made = ("case", "csr", reference, "--again", "--output", str(request))
    # An incident opens cases that have none yet.
    if provider.call(*made, codes=(0, 3)).code:
        assert "has no CSR" in provider.call(*made, codes=(3,)).err
        return
    for path in (request, request.with_name(f"{request.name}.txt")):
        yield f"case csr {path.name}", path.read_text()
    provider.call("case", "package", reference, "--output", str(package))
    with zipfile.ZipFile(package) as archive:
        for name in archive.namelist():
            yield f"case package {name}", archive.read(name).decode("latin-1")


def _reports(provider: Provider) -> Iterator[tuple[str, str]]:
    """Yield (number, text) of the reports of all clients in one folder."""
    folder = provider.folder / "reports"
    provider.call("report", "--all", "--output", str(folder))
    for path in folder.iterdir():
        yield path.stem, path.read_text()


def _previews(provider: Provider) -> Iterator[tuple[str, str]]:
    """Yield (recipient, text) of each message that notify would send now."""
    folder = provider.folder / "preview"
    provider.call("notice", "preview", "--output", str(folder))
    for path in folder.rglob("*.eml"):
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        parts = [str(p.get_content()) for p in mail.walk() if not p.is_multipart()]
        yield str(mail["To"]), "\n".join([str(mail.items()), *parts])


def _foreign(provider: Provider) -> Iterator[tuple[str, str]]:
    """Yield (what, text around the mark) of each mark in an output that is not for its client."""
    resold = provider.world.resold
    # A reseller reads what is for its clients, in their place.
    hidden = {"1": {"2"}, "2": {"1"}, "9": {"1", "2"} - resold}
    outputs = [(n, what, text) for n in hidden for what, text in _outputs(provider, n)]
    outputs += [(number, f"report {number}", text) for number, text in _reports(provider)]
    for recipient, text in _previews(provider):
        found = [n for n in hidden if mark(n) in recipient]
        outputs += [(n, f"mail to {recipient}", text) for n in found]
    for number, what, text in outputs:
        for other in hidden.get(number, ()):
            for line in text.splitlines():
                if mark(other) in line:
                    at = line.index(mark(other))
                    yield what, line[max(at - 150, 0) : at + 80]


@pytest.fixture
def _mail_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse mail here: starting the parser process for each mail costs more than all else."""

    def parse(_process: MailParserProcess, raw: bytes) -> InboundMail:
        return parse_whole(raw, parse_head(raw))

    monkeypatch.setattr(MailParserProcess, "parse", parse)


@pytest.mark.longest
@pytest.mark.campaign
@pytest.mark.usefixtures("_mail_in_this_process")
# The workers of a soak share the worlds, and a part takes no more than some minutes.
@pytest.mark.parametrize("part", range(size(1, 125)))
@given(data=st.data())
@settings(
    max_examples=size(1, 4),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_outputs_for_one_client_contain_nothing_of_the_other(
    root: Authority, issuer: Authority, part: int, data: st.DataObject
) -> None:
    world = data.draw(worlds(part))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        # An answer at once: without one, each query would wait for its time limit.
        resolver = stack.enter_context(serving({})).address
        database = stack.enter_context(one_engine(Path(folder) / "c.db", lambda: START))
        provider = Provider(world, Path(folder), issuer, database, resolver)
        provider.configure(root)
        provider.fill(stack)
        provider.work()
        shown = "\n".join(f"{what}: {text}" for what, text in _foreign(provider))
        assert not shown, shown


# Commands with --client whose output is not one about a client, each with the reason.
_NOT_WALKED = {
    "contact add": "it changes a record",
    "deadline add": "it changes a record",
    "deadline edit": "it changes a record",
    "domain add": "it changes a record",
    "domain edit": "it changes a record",
    "finding accept": "it changes a record; its reason is part of the walked lists",
    "finding assign": "it changes a record; its reason is part of the walked lists",
    "issue": "it prints the names that were given",
    "notice snooze": "it changes a record",
    "scan": "it is for staff, and names what is served",
    "zone assign": "it changes a record",
    "zone unassign": "it changes a record",
}


def _commands(
    command: click.Command, words: tuple[str, ...], parent: click.Context
) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(words), command
        return
    for name in command.list_commands(parent):
        found = command.get_command(parent, name)
        assert found is not None
        inner = click.Context(found, parent=parent, info_name=name)
        yield from _commands(found, (*words, name), inner)


def test_each_command_that_is_limited_to_a_client_is_walked() -> None:
    limited = {
        words
        for words, command in _commands(cli, (), click.Context(cli))
        if any("--client" in p.opts for p in command.params)
    }
    world = World(
        names={"1": ["a.test"], "2": ["b.test"]},
        shown={},
        days={},
        resold=frozenset(),
        one_server=True,
        same_certificate=False,
        languages={},
        renews="us",
        moved=None,
        incident=True,
    )
    called = [*_calls("1", world, {"1": 443, "2": 443}), ("import",)]
    walked = {" ".join(c[:length]) for c in called for length in (1, 2)}
    assert limited - walked == set(_NOT_WALKED)
