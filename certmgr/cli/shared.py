"""Shared parts of commands: the command context, options, and the output of errors."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from certmgr.config.redaction import redact
from certmgr.operations.stopping import StopState
from inventory.clock import Clock, system_clock
from inventory.dates import parse_ahead, parse_end
from inventory.errors import CertmgrError, NotFound, UsageError
from inventory.text import printable

if TYPE_CHECKING:
    from certmgr.config.context import Context
    from certmgr.config.settings import Settings
    from inventory.db.database import Database

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Caller:
    """What the caller of the command line gives to each command.

    Attributes:
        clock: The clock.
        stop: What interrupts the command: Ctrl-C, SIGTERM, or a time budget.
    """

    clock: Clock = system_clock
    stop: StopState = field(default_factory=StopState)


@dataclass(slots=True)
class CommandContext:
    """The global options, and what they lead to.

    The configuration is read and a database is opened only if a command needs it.

    Attributes:
        config: The path of the configuration file; None for the default.
        database_url: The database; None for the configured one.
        debug: Whether errors are printed with a traceback.
        clock: The clock of the command.
        stop: What interrupts the command.
    """

    config: str | None
    database_url: str | None
    debug: bool
    clock: Clock = system_clock
    stop: StopState = field(default_factory=StopState)
    _settings: Settings | None = None
    _opened: list[Database] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The configuration, read once per command."""
        if self._settings is None:
            # Imported here so that ``certmgr --help`` stays fast.
            from certmgr.config.loading import load

            settings = load(self.config)
            # An invalid solver is reported by the first command, and not by a renewal months later.
            if settings.acme.solvers:
                from certmgr.acme.challenges.kinds import check_solvers

                check_solvers(settings.acme)
            self._settings = settings
        return self._settings

    def use_config(self, path: str) -> None:
        """Use another configuration file from now on."""
        # The settings that were read belong to the old file.
        self.config, self._settings = path, None

    @property
    def url(self) -> str:
        """The URL or path of the database: option, configuration, or default."""
        from certmgr.config.secret_values import secret
        from certmgr.config.settings import default_database

        # The option wins over the configuration, so that one command can use another database. The
        # default is last.
        return self.database_url or secret(self.settings.database.url) or default_database()

    def open(self, *, create: bool = False) -> Database:
        """Open the database. It is closed at the end of the command.

        Args:
            create: Whether a missing SQLite file is created: for commands that add first records.

        Raises:
            NotFound: There is no database, with the next step. A command that shows something
                leaves no empty file, whose path may be a typing error.
        """
        if not create and (missing := missing_file(self.url)) is not None:
            # "certmgr init" writes a configuration; without a contact it adds no record yet.
            first = "Add" if self.settings.has_file else "Begin with certmgr init, or add"
            raise NotFound(
                f"There is no inventory yet: {printable(str(missing), 300)} does not exist",
                "",
                f"{first} the first client: certmgr client add 1001 'Example Ltd', or import a"
                " list: certmgr import FILE.",
            )
        # Imported here because SQLAlchemy takes a fifth of a second, and --help does not need it.
        from inventory.db.opening import open_database

        timeout = self.settings.database.lock_timeout
        opened = open_database(self.url, clock=self.clock, lock_timeout=timeout)
        self._opened.append(opened)
        return opened

    def context(self, *, create: bool = False) -> Context:
        """Open the database (see :meth:`open`), with the configuration and the clock."""
        # Imported here for the same reason as the database.
        from certmgr.config.context import Context

        context = Context(self.open(create=create), self.settings, self.clock)
        if not self.settings.workers.enabled:
            return context
        # Other machines see what this one does not.
        from certmgr.workers.zone_calls import QueuedZoneWorkers

        return replace(context, zone_workers=QueuedZoneWorkers(context, self.stop))

    def close(self) -> None:
        """Close every database that this command opened."""
        for database in self._opened:
            database.close()

    def now(self) -> datetime:
        """Return the current time."""
        return self.clock()

    def moment(self, text: str | None) -> datetime | None:
        """Parse a date option; a bare date is the end of that day in the provider's time zone."""
        return None if text is None else parse_end(text, self.settings.provider.time_zone)

    def ahead(self, text: str, after: datetime | None = None) -> datetime:
        """Parse the begin or end of something ahead: a date, or a time of today or tomorrow.

        Args:
            text: The option. A bare date is the end of that day.
            after: A time alone is the next one after this. Default: now.
        """
        return parse_ahead(text, self.settings.provider.time_zone, after or self.now())


def missing_file(url: str) -> Path | None:
    """Return the path of an SQLite database whose file does not exist; else None."""
    path = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else url
    # A PostgreSQL database has no file here. Connecting shows whether it exists.
    return Path(path) if "://" not in path and not Path(path).exists() else None


pass_app = click.make_pass_decorator(CommandContext)


def colour_choice(option: str) -> bool | None:
    """Return whether output is coloured; None if that depends on whether it is a terminal.

    Args:
        option: always, never or auto.
    """
    # An option is closer to the command than the environment.
    if option != "auto":
        return option == "always"
    # An empty NO_COLOR does not count (no-color.org).
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    forced = os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE")
    # Some tools set FORCE_COLOR=0 to switch colours off, so 0 does not force them.
    return True if forced and forced != "0" else None


WIDTH_KEY = "certmgr.width"


def _keep_width(context: click.Context, _: click.Parameter, value: int | None) -> None:
    if value is not None:
        context.meta[WIDTH_KEY] = value


# Both before and after the name of the command, as people type it.
width_option = click.option(
    "--width",
    type=click.IntRange(20, 10_000),
    metavar="COLUMNS",
    expose_value=False,
    callback=_keep_width,
    help="Width of tables. Default: COLUMNS, else the terminal; no limit in a pipe.",
)


def format_option(command: _F) -> _F:
    """Add the options of a command that lists something: --format and --width."""
    option = click.option(
        "--format",
        "output_format",
        type=click.Choice(["table", "json", "csv"]),
        default="table",
        show_default=True,
        help="Output format.",
    )
    return option(width_option(command))


client_filter = click.option("--client", metavar="NUMBER", help="Only this client.")
tag_filter = click.option("--tag", metavar="TAG", help="Only records with this tag.")
retired_option = click.option("--retired", is_flag=True, help="Include retired records.")


def party_options(command: _F) -> _F:
    """Add the options --hosts, --dns, --buys and --renews: who does what for a domain."""
    texts = {
        "hosts": "Who hosts the sites.",
        "dns": "Who runs the DNS.",
        "buys": "Who buys certificates.",
        "renews": "Who renews certificates.",
    }
    for name in ("renews", "buys", "dns", "hosts"):
        option = click.option(
            f"--{name}",
            # An empty text clears the value, so the value above it is inherited.
            type=click.Choice(["us", "client", "panel", "cdn", ""]),
            help=f"{texts[name]} Empty: inherit the value.",
        )
        command = option(command)
    return command


def given(**values: Any) -> dict[str, Any]:
    """Return the options that were given: None means unchanged, an empty text clears the value."""
    return {k: v for k, v in values.items() if v is not None}


def changed(what: str, changes: dict[str, list[Any]]) -> str:
    """Return a change as text. Print it after the commit."""
    if not changes:
        return f"{what}: nothing to change."
    details = ", ".join(
        f"{k} {_value(a) if a is not None else 'unset'} -> {_value(b)}"
        for k, (a, b) in changes.items()
    )
    return f"{what}: {details}."


def _value(value: Any) -> str:
    return printable(" ".join(value) if isinstance(value, tuple) else str(value), 60)


tag_option = click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="Add a tag; may be repeated."
)
untag_option = click.option(
    "--untag", "untags", multiple=True, metavar="TAG", help="Remove a tag; may be repeated."
)
PARTIES = ("hosts", "dns", "buys", "renews")


def change_tags(tx: Any, kind: str, row_id: int, tags: Sequence[str], untags: Sequence[str]) -> str:
    """Change tags and return a text about it. Print it after the commit."""

    if not (tags or untags):
        return ""
    from inventory.store import editing

    editing.change_tags(tx, kind, row_id, tags, untags)
    return " Tags changed."


def fail(error: BaseException, debug: bool) -> int:
    """Print an error on stderr and return its exit code."""
    if debug:
        # Imported here because most commands end without an error.
        from certmgr.cli.tracebacks import print_traceback

        print_traceback(error)
    # The text may contain a URL with a password or a name from outside, so it is redacted and made
    # printable.
    if isinstance(error, CertmgrError):
        click.echo(f"certmgr: {printable(redact(str(error)), 1500)}", err=True)
        return error.exit_code
    reason = printable(redact(f"{type(error).__name__}: {error}"), 300)
    click.echo(
        f"certmgr: internal error: {reason}. Run it again with --debug and report the error.",
        err=True,
    )
    return 3


def _show(error: click.ClickException) -> None:
    """Print an error of click. It quotes arguments, such as a file name that a shell completed."""
    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().splitlines():
        click.echo(printable(redact(line), 1500), err=True)


def guard(
    function: Callable[[], Any], debug: Callable[[], bool], stop: StopState | None = None
) -> int:
    """Run the command line. Every error becomes one line on stderr and an exit code."""
    try:
        result = function()
        # A command without an exit code has succeeded.
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("certmgr: interrupted.", err=True)
        return (stop or StopState()).exit_code
    except BrokenPipeError:
        # The reader closed the pipe (| head), which is not an error. Python would report one when
        # it flushes the rest of the output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A full disk is for the user to fix, and "internal error" would mislead.
        if error.errno == errno.ENOSPC:
            click.echo("certmgr: the output cannot be written: the disk is full.", err=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 3
        return fail(error, debug())
    # The outermost handler: users get one line and an exit code, and the traceback with --debug.
    except Exception as error:
        return fail(error, debug())


def was_given(parameter: str) -> bool:
    """Return whether an option of the running command was given, and is not its default.

    Args:
        parameter: The name of the parameter of the function.
    """
    source = click.get_current_context().get_parameter_source(parameter)
    return source not in (None, click.core.ParameterSource.DEFAULT)


def needs(value: str | None, option: str) -> str:
    """Return the value of an option that a command needs in this case.

    Raises:
        UsageError: The option is missing.
    """
    if not value:
        raise UsageError(f"{option} is missing", "", f"Give {option}.")
    return value
