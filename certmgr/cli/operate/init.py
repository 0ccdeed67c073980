"""``certmgr init``: the configuration file, and the first steps."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import click

from certmgr.cli.operate.init_questions import (
    LANGUAGES,
    Questions,
    ask_answers,
    staff_contact,
)
from certmgr.cli.output import cell
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.config.loading import default_path, load_text
from certmgr.config.secret_values import secret
from certmgr.config.settings import default_database
from certmgr.config.template import Answers, render, time_zone_of
from certmgr.files import write_whole
from certmgr.operations.doctor_surroundings import mail_server
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.store import contacts

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
    ask = Questions(on=not defaults and sys.stdin.isatty())
    answers = ask_answers(
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
    staff, staff_mail = staff_contact(ask, staff, staff_mail)
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
    source = source or ask.text(
        "List of clients and domains to import (empty: none)", None, "", _existing
    )
    _next_steps(app, file, source)
    return code


def _existing(answer: str) -> None:
    """Refuse a list that does not exist, such as the answer n."""
    if answer and not Path(answer).exists():
        raise UsageError(
            f"There is no file {cell(answer, 300)}", "", "Name a file, or leave it empty."
        )


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


def _local_zone() -> str:
    try:
        return time_zone_of(str(Path("/etc/localtime").readlink()))
    # /etc/localtime may be missing, or a copy and not a link, in a container for example.
    except OSError:
        return time_zone_of("")


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
