"""A click group that imports a command only when it runs.

``certmgr --help`` and shell completion stay fast, although each command imports what it needs at
the top of its module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

import click


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """The import path of a command, and its line in ``certmgr --help``.

    Attributes:
        path: Import path, as ``package.module:attribute``.
        summary: Help text that fits a line of 80 columns.
    """

    path: str
    summary: str

    def load(self) -> click.Command:
        """Import the module and return the command."""
        module, _, attribute = self.path.partition(":")
        command = getattr(import_module(module), attribute)
        # A wrong path in a table is our error, which the tests of all commands find.
        assert isinstance(command, click.Command)
        return command


class LazyGroup(click.Group):
    """A group whose commands stand in tables of :class:`LazyCommand`.

    Attributes:
        commands_by_group: Heading in the help -> its commands by name; a subclass fills it.
    """

    commands_by_group: ClassVar[Mapping[str, Mapping[str, LazyCommand]]] = {}

    @property
    def commands_by_name(self) -> Mapping[str, LazyCommand]:
        """The commands of all groups."""
        return {n: c for group in self.commands_by_group.values() for n, c in group.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in alphabetical order."""
        return sorted(self.commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; None if the name is unknown."""
        # An unknown name is not an error here: click then reports it as a usage error.
        lazy_command = self.commands_by_name.get(cmd_name)
        return lazy_command.load() if lazy_command is not None else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first; a misspelt name gets suggestions."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click would suggest commands that are loaded already, and none is.
            known = self.list_commands(ctx)
            raise click.NoSuchCommand(error.command_name, possibilities=known, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the tables of commands without importing any of them."""
        # click's own implementation loads each command for its short help.
        width = max(map(len, self.commands_by_name))
        for heading, commands in self.commands_by_group.items():
            # All groups have the same width, so that their summaries form one column.
            rows = [(name.ljust(width), command.summary) for name, command in commands.items()]
            with formatter.section(heading):
                formatter.write_dl(rows)
