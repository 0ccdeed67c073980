"""Manual pages (man, roff) from the commands and from the pages of the documentation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from certmgr import __version__
from certmgr.files import write_whole
from inventory.errors import CertmgrError


def write_pages(root: click.Command, topics: Mapping[str, Path], folder: Path) -> int:
    """Write a page per command (section 1) and per topic (section 7); return their number.

    Raises:
        CertmgrError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CertmgrError(
            f"The folder {folder} cannot be created",
            error.strerror or str(error),
            "Give another FOLDER.",
        ) from None
    count = 0
    for name, command in _commands(root, "certmgr"):
        page = command_page(name, command)
        # man finds the page of a subcommand by its words joined with hyphens.
        write_whole(folder / f"{name.replace(' ', '-')}.1", page.encode(), 0o644)
        count += 1
    for topic, path in topics.items():
        page = topic_page(topic, path.read_text(encoding="utf-8"))
        write_whole(folder / f"certmgr-{topic}.7", page.encode(), 0o644)
        count += 1
    return count


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _commands(found, f"{name} {child}")


def _escaped(text: str) -> str:
    # The backslash comes first, because the second replacement adds backslashes. A plain hyphen may
    # be typeset as another character, and an option that is copied would not work.
    text = text.replace("\\", "\\e").replace("-", "\\-")
    # A line that begins with a dot or an apostrophe would be a request.
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def _head(name: str, section: int, summary: str) -> list[str]:
    title = name.replace(" ", "-")
    return [
        f'.TH "{title.upper()}" "{section}" "" "certmgr {__version__}" "certmgr"',
        ".SH NAME",
        f"{_escaped(title)} \\- {_escaped(summary)}",
    ]


def command_page(name: str, command: click.Command) -> str:
    """Return the page of a command."""
    context = click.Context(command, info_name=name)
    # click keeps the docstring as it is indented, and cleans it when it prints --help.
    help_text = inspect.cleandoc(command.help or "").strip()
    # apropos lists this summary, which by convention has no full stop.
    lines = _head(name, 1, help_text.split("\n", 1)[0].rstrip("."))
    usage = " ".join(command.collect_usage_pieces(context))
    lines += [".SH SYNOPSIS", f".B {_escaped(name)}", _escaped(usage), ".SH DESCRIPTION"]
    for paragraph in help_text.split("\n\n"):
        # click marks a paragraph whose lines are kept.
        if paragraph.startswith("\b"):
            lines += [".nf", _escaped(paragraph.strip("\b\n")), ".fi"]
        else:
            lines += [".PP", _escaped(" ".join(paragraph.split()))]
    records = [
        record
        for parameter in command.params
        if isinstance(parameter, click.Option)
        and (record := parameter.get_help_record(context)) is not None
    ]
    if records:
        lines.append(".SH OPTIONS")
        for option, text in records:
            lines += [".TP", f".B {_escaped(option)}", _escaped(text)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for child in command.list_commands(context):
            lines += [".TP", f".BR {_escaped(name.replace(' ', '-'))}\\-{_escaped(child)} (1)"]
    lines += [".SH SEE ALSO", ".BR certmgr (1)"]
    return "\n".join(lines) + "\n"


def topic_page(topic: str, text: str) -> str:
    """Return the page of a topic. Its Markdown is kept, except for headings and links."""
    title, _, body = text.partition("\n")
    lines = _head(f"certmgr-{topic}", 7, title.removeprefix("# "))
    fill = True
    for line in body.splitlines():
        # Tables and programs are shown line by line.
        kept = line.startswith(("|", "    ", "- "))
        if line.startswith("```"):
            lines.append(".nf" if fill else ".fi")
            fill = not fill
        elif fill and (heading := re.match(r"#+ (.*)", line)):
            lines.append(f'.SH "{_escaped(heading.group(1)).upper()}"')
        elif not line.strip():
            lines.append(".PP" if fill else "")
        else:
            plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", line).replace("`", "")
            lines.append(("" if not (kept and fill) else ".br\n") + _escaped(plain))
    return "\n".join(lines) + "\n"
