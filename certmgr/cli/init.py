"""``certmgr init``: the configuration file, and the first steps."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from certmgr.cli.output import cell
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.config.loading import default_path, load_text
from certmgr.config.secret_values import secret
from certmgr.config.settings import default_database
from certmgr.config.template import Answers, render, time_zone_of
from certmgr.files import write_whole
from certmgr.net.addresses import networks as parse_networks
from certmgr.operations.doctor_surroundings import mail_server
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.names import mail_address
from inventory.store import contacts
from inventory.text import printable
from notifiers.wording.catalogue import available

LANGUAGES = available()
MAIL_VARIABLE = "env:CERTMGR_MAIL"
DATABASE_VARIABLE = "CERTMGR_DATABASE_URL"


@click.command()
@click.option("--name", metavar="NAME", help="Name of the provider, as clients know it.")
@click.option("--time-zone", metavar="ZONE", help="Time zone. Default: that of this machine.")
@click.option("--language", type=click.Choice(LANGUAGES), help="Language of reports. Default: en.")
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="NETWORK",
    help="Network of the provider, such as 192.0.2.0/24; may be repeated.",
)
@click.option(
    "--resolver",
    "resolvers",
    multiple=True,
    metavar="ADDRESS",
    help="Name server; may be repeated. Default: those of the system.",
)
@click.option(
    "--mail",
    metavar="REFERENCE",
    help="Where the mailtos:// URL is: env:NAME or file:PATH. Empty: no mail.",
)
@click.option("--staff", metavar="NAME", help="Name of one staff contact. Empty: none.")
@click.option("--staff-mail", metavar="ADDRESS", help="E-mail address of the staff contact.")
@click.option(
    "--test-mail/--no-test-mail",
    default=None,
    help="Whether to connect to the mail server. Default: ask.",
)
@click.option("--import", "source", metavar="FILE", help="List of clients and domains to import.")
@click.option("--defaults", is_flag=True, help="Ask nothing, and take the defaults.")
@click.option("--force", is_flag=True, help="Replace an existing configuration file.")
@pass_app
def init(
    app: CommandContext,
    name: str | None,
    time_zone: str | None,
    language: str | None,
    networks: tuple[str, ...],
    resolvers: tuple[str, ...],
    mail: str | None,
    staff: str | None,
    staff_mail: str | None,
    test_mail: bool | None,
    source: str | None,
    defaults: bool,
    force: bool,
) -> int:
    """Write a commented configuration file, and take the first steps.

    Each question has a default and is also an option; the database is --database of certmgr. A file
    elsewhere than the default one (--config FILE) has a separate database next to it, or in
    /var/lib/certmgr if it is in /etc. Without a terminal, nothing is asked.

    \b
    certmgr init
    certmgr --config /etc/certmgr.toml init
    certmgr init --defaults --name "Example Hosting" --network 192.0.2.0/24
    """
    file = _file(app, force=force)
    ask = _Questions(on=not defaults and sys.stdin.isatty())
    answers = _ask(
        ask,
        Answers(
            name=name or "",
            time_zone=time_zone or _local_zone(),
            language=language or "en",
            networks=networks,
            resolvers=resolvers,
            mail=mail or "",
            database=app.database_url or _own_database(file),
        ),
        given=_given(
            name=name,
            time_zone=time_zone,
            language=language,
            networks=networks or None,
            resolvers=resolvers or None,
            mail=mail,
            # The variable applies whatever the file has.
            database=app.database_url or os.environ.get(DATABASE_VARIABLE),
        ),
    )
    text = render(_without_default(answers))
    # All answers are checked before the file is written: an error must not leave half a set-up.
    staff, staff_mail = _staff_contact(ask, staff, staff_mail)
    _write(file, text, overwrite=force)
    click.echo(f"Configuration written: {cell(str(file), 300)}")
    _state_database(app, answers)
    # Everything below uses what was written.
    app.use_config(str(file))
    if staff:
        _add_staff(app, staff, staff_mail)
    code = 0
    if answers.mail and ask.yes("Connect to the mail server now?", test_mail):
        code = _test_mail(app)
    source = source or ask.text("List of clients and domains to import (empty: none)", None, "")
    _next_steps(app, file, source)
    return code


def _file(app: CommandContext, *, force: bool) -> Path:
    file = Path(app.config or os.environ.get("CERTMGR_CONFIG") or default_path())
    # The file may contain changes by hand, and no copy of it is kept.
    if file.exists() and not force:
        raise Conflict(
            f"{cell(str(file), 300)} exists already",
            "",
            "Edit it, or replace it with --force. certmgr config show shows what applies.",
        )
    return file


def _state_database(app: CommandContext, answers: Answers) -> None:
    from_variable = not app.database_url and os.environ.get(DATABASE_VARIABLE)
    stated = f"env:{DATABASE_VARIABLE}" if from_variable else answers.database
    click.echo(f"Database: {cell(stated, 300)}")


def _own_database(file: Path) -> str:
    """Return the database of a configuration file.

    Each file has a separate one, so that a trial in another folder never changes the inventory of
    the default configuration.
    """
    if file.absolute() == default_path().absolute():
        return default_database()
    # Programs do not write below /etc (FHS 3.0, 3.7 and 5.8).
    if Path("/etc") in file.absolute().parents:
        return f"/var/lib/certmgr/{file.stem}.db"
    return str(file.absolute().with_suffix(".db"))


def _without_default(answers: Answers) -> Answers:
    """Return the answers without the default database, which the file states in a comment."""
    return replace(answers, database="") if answers.database == default_database() else answers


def _given(**options: object) -> set[str]:
    """Return the names of the options that are not asked for again.

    An option may be empty: an empty value is an answer.
    """
    return {name for name, value in options.items() if value is not None}


class _Questions:
    """Asks for what no option gives, if there is a terminal.

    In a pipe or a script, a question would wait for ever or consume the input of another command.
    """

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def text(
        self,
        question: str,
        given: str | None,
        default: str,
        check: Callable[[str], object] | None = None,
    ) -> str:
        """Return what was given, or the answer to the question, or the default.

        Args:
            check: Raises an error for an invalid answer, which is then asked for again: one typing
                error must not cost the answers before it.
        """
        if given is not None or not self.on:
            return given if given is not None else default
        while True:
            answer = click.prompt(question, default=default, show_default=bool(default))
            answer = str(answer).strip()
            try:
                if check is not None:
                    check(answer)
            except CertmgrError as error:
                click.echo(f"{cell(str(error), 400)}", err=True)
            else:
                return answer

    def yes(self, question: str, given: bool | None) -> bool:
        if given is not None or not self.on:
            return bool(given)
        return click.confirm(question, default=True)


def _several(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


# Question by the field of Answers, in the order in which they are asked.
_ASKED = {
    "name": "Name of the provider, as clients know it (empty: none)",
    "time_zone": "Time zone",
    "language": "Language of reports (en, de)",
    "networks": "Your networks, such as 192.0.2.0/24 (empty: none)",
    "resolvers": "Name servers (empty: those of the system)",
    "mail": "Mail server: env:NAME or file:PATH of its URL (empty: none)",
    "database": "Database: a file, or postgresql://user@host/name",
}


def _ask(ask: _Questions, answers: Answers, given: Set[str]) -> Answers:
    """Return the answers with what was asked for. Each answer is checked before the next question.

    Raises:
        CertmgrError: An option is not valid.
    """
    answers = _checked(answers)
    for field, question in _ASKED.items():
        if field in given or not ask.on:
            continue
        before = answers

        def with_answer(text: str, field: str = field, before: Answers = before) -> Answers:
            several = field in ("networks", "resolvers")
            changed: dict[str, Any] = {field: _several(text) if several else text}
            made = _checked(replace(before, **changed))
            # The file is parsed here, so that its checks hold for each answer.
            render(made)
            return made

        default = getattr(answers, field)
        default = " ".join(default) if isinstance(default, tuple) else default
        answers = with_answer(ask.text(question, None, default, with_answer))
    return answers


def _local_zone() -> str:
    try:
        return time_zone_of(str(Path("/etc/localtime").readlink()))
    # /etc/localtime may be missing, or a copy and not a link, in a container for example.
    except OSError:
        return time_zone_of("")


def _checked(answers: Answers) -> Answers:
    """Return the answers, or raise an error that names the option."""
    parse_networks(answers.networks, "--network")
    if answers.language not in LANGUAGES:
        raise UsageError(
            f"There are no reports in the language '{printable(answers.language, 30)}'",
            "",
            f"Choose {' or '.join(LANGUAGES)}.",
        )
    # A password in the file would be readable in backups and in version control.
    if answers.mail and not answers.mail.startswith(("env:", "file:")):
        # A URL has a password in most cases, so only its scheme is repeated in the error.
        if "://" in answers.mail:
            _refuse_url(answers.mail)
        raise UsageError(
            f"--mail is '{printable(answers.mail, 60)}'",
            "it must name where the URL of the mail server is",
            f"Write {MAIL_VARIABLE} or file:/etc/certmgr.mail.",
        )
    if answers.mail.startswith("file:"):
        answers = replace(answers, mail=f"file:{_absolute(answers.mail.removeprefix('file:'))}")
    return replace(answers, database=_checked_database(answers.database))


def _absolute(path: str) -> str:
    # The file is read later by cron, from another working directory.
    return str(Path(path).expanduser().absolute())


def _checked_database(text: str) -> str:
    """Return the database as the file names it."""
    if text.startswith("file:"):
        return f"file:{_absolute(text.removeprefix('file:'))}"
    if text.startswith("env:") or not text:
        return text
    if "://" not in text:
        return _absolute(text)
    try:
        url = make_url(text)
    except ArgumentError:
        raise UsageError(
            f"--database is '{printable(text.partition('://')[0], 20)}://...'",
            "it is not a database URL",
            "Give a file, or postgresql://user@host/name.",
        ) from None
    if url.password is not None:
        raise UsageError(
            f"--database is a URL ({printable(url.drivername, 20)}://...) with a password",
            "the password would stand in the configuration file",
            "Put the URL into a file or variable, and give file:/etc/certmgr.database or"
            " env:CERTMGR_DATABASE.",
        )
    return text


def _refuse_url(url: str) -> NoReturn:
    raise UsageError(
        f"--mail is a URL ({printable(urlsplit(url).scheme, 20)}://...)",
        "its password would stand in the configuration file",
        f"Put it into a file or variable, and give file:/etc/certmgr.mail or {MAIL_VARIABLE}.",
    )


def _staff_contact(ask: _Questions, name: str | None, address: str | None) -> tuple[str, str]:
    """Return the name and the address of a staff contact; both are empty if there is to be none."""
    name = ask.text("Name of one staff contact (empty: none)", name, "")
    # Without a name there is no contact, so the address is not asked for.
    if name:
        address = ask.text("Its e-mail address", address, "", mail_address)
    if address:
        mail_address(address)
    # A contact without an address cannot be notified, and an address needs a name.
    if bool(name) != bool(address):
        raise UsageError(
            "--staff and --staff-mail belong together", "", "Give both of them, or none."
        )
    return name, address or ""


def _write(file: Path, text: str, *, overwrite: bool) -> None:
    # The text is parsed before it is written, so that no invalid file stays for the next command.
    load_text(text, str(file))
    try:
        # The folder is private: the configuration names the files of secrets.
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CertmgrError(
            f"The folder {cell(str(file.parent), 300)} cannot be created",
            error.strerror or str(error),
            "Give another file: certmgr --config FILE init.",
        ) from None
    write_whole(file, text.encode(), 0o600, overwrite=overwrite)


def _add_staff(app: CommandContext, name: str, address: str) -> None:
    with app.open(create=True).write(app.now()) as tx:
        known = {c.name for c in contacts.listing(tx.conn)}
        # A second run of init must not add the same person twice.
        if name in known:
            return
        contacts.add(tx, None, {"name": name, "role": "administrator"}, (f"email:{address}",))
    click.echo(f"Staff contact {cell(name)} added (administrator, {cell(address)}).")


def _test_mail(app: CommandContext) -> int:
    """Connect to the mail server; nothing is sent. Return the exit code."""
    try:
        # A missing secret is reported first, without a connection to the server.
        secret(app.settings.notify.mail)
        for result in mail_server(app.settings, app.now()):
            click.echo(f"Mail server: {cell(result.what, 300)}.")
    except (CertmgrError, OSError) as error:
        click.echo(f"✗ Mail server: {cell(str(error), 300)}", err=True)
        click.echo("The configuration was written. Test again: certmgr doctor.", err=True)
        # The file stays, because it is valid. The exit code shows a script that mail does not work
        # yet.
        return 3
    return 0


def _next_steps(app: CommandContext, file: Path, source: str) -> None:
    # Without the option, the next commands would read another file than the one just written.
    option = "" if file == default_path() else f" --config {shlex.quote(str(file))}"
    first = f"import {shlex.quote(source)} --dry-run" if source else "client add 1001 'Example Ltd'"
    second = "scan" if source else "domain add shop.example.com --client 1001"
    if not source:
        click.echo(f"\nA list of clients and domains: certmgr{option} import FILE --dry-run")
    click.echo(f"\nNext:\n  certmgr{option} {cell(first, 400)}\n  certmgr{option} {second}")
