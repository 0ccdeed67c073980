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
        assert isinstance(command, click.Command)
        return command


class LazyGroup(click.Group):
    """A group whose commands stand in a table of :class:`LazyCommand`.

    Attributes:
        commands_by_name: The commands; a subclass fills the table.
    """

    commands_by_name: ClassVar[Mapping[str, LazyCommand]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in alphabetical order."""
        return sorted(self.commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; None if the name is unknown."""
        lazy_command = self.commands_by_name.get(cmd_name)
        return lazy_command.load() if lazy_command is not None else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any of them."""
        # click's own implementation loads each command for its short help.
        rows = [(name, self.commands_by_name[name].summary) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
