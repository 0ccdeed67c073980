"""The questions of ``certmgr init``, and the checks of their answers."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from certmgr.cli.output import cell
from certmgr.config.template import Answers, render
from certmgr.net.addresses import networks as parse_networks
from inventory.errors import CertmgrError, UsageError
from inventory.names import mail_address
from inventory.text import printable
from notifiers.wording.catalogue import available

LANGUAGES = available()
MAIL_VARIABLE = "env:CERTMGR_MAIL"


class Questions:
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
        """Return what was given, or the answer; without a terminal, no."""
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


def ask_answers(ask: Questions, answers: Answers, given: Set[str]) -> Answers:
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


def staff_contact(ask: Questions, name: str | None, address: str | None) -> tuple[str, str]:
    """Return the name and the address of a staff contact; both are empty if there is to be none."""
    asked = name is None
    name = ask.text("Name of one staff contact (empty: none)", name, "")
    # Without a name there is no contact, so the address is not asked for.
    if name:
        question = "Its e-mail address" + (" (empty: no contact)" if asked else "")
        address = ask.text(question, address, "", lambda a: mail_address(a) if a else a)
        # A name that was a mistake must not hold the user in a question without an answer.
        if asked and not address:
            return "", ""
    if address:
        mail_address(address)
    # A contact without an address cannot be notified, and an address needs a name.
    if bool(name) != bool(address):
        raise UsageError(
            "--staff and --staff-mail belong together", "", "Give both of them, or none."
        )
    return name, address or ""
