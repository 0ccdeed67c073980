"""A group whose commands are imported only when they are run.

``certmgr --help`` and the completion of a shell stay fast although each command imports what it
needs at the top of its module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

import click


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is defined, and its line in ``certmgr --help``.

    Attributes:
        path: ``package.module:attribute``.
        summary: short enough for a line of 80 columns.
    """

    path: str
    summary: str

    def load(self) -> click.Command:
        module, _, attribute = self.path.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


class LazyGroup(click.Group):
    """A group over a table of :class:`LazyCommand`."""

    commands_by_name: ClassVar[Mapping[str, LazyCommand]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self.commands_by_name.get(cmd_name)
        return found.load() if found is not None else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any of them."""
        rows = [(name, self.commands_by_name[name].summary) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
