"""Calls of certmgr in help texts and documentation, read by the parser of the program."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click

from certmgr.cli.main import cli

# Programs to which certmgr is a name: of a database, an account or a package.
_NAMED = {"createuser", "createdb", "pip", "pipx", "uv", "useradd", "install", "chown"}


class Example(NamedTuple):
    """A call as a text shows it, without ``certmgr``. ``whole``: a line of its own, to be typed."""

    source: str
    words: tuple[str, ...]
    whole: bool


def of_help(name: str, text: str) -> Iterator[Example]:
    """Yield the lines of a help text that show a call."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        # Two blanks divide a call from its description.
        call = re.split(r"\s{2,}", line.strip())[0]
        if re.match(r"certmgr [a-z]", call) and not call.endswith((".", ",")):
            yield from _calls(f"{name} --help", call, True)


def of_page(path: Path) -> Iterator[Example]:
    """Yield the calls of a page: lines of code blocks, and code within sentences."""
    block = ""
    fenced = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if not fenced:
            for code in re.findall(r"`((?:sudo )?certmgr [^`]+)`", line):
                yield from _calls(path.name, code, False)
            continue
        block += line.strip()
        if block.endswith("\\"):
            block = block[:-1]
            continue
        yield from _calls(path.name, block, True)
        block = ""


def _calls(source: str, line: str, whole: bool) -> Iterator[Example]:
    """Yield each call of a line of the shell, which may hold pipes and other programs."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    # A line of output may hold a single quotation mark.
    with suppress(ValueError):
        words = list(lexer)
    call: list[str] | None = None
    before: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("|&;<>()"):
            if call:
                yield Example(source, tuple(call), whole)
            call, before = None, []
        elif call is not None:
            call.append(word)
        elif (word == "certmgr" or word.endswith("/certmgr")) and not _NAMED & {*before}:
            call = []
        else:
            before.append(word)


def refused(example: Example) -> str:
    """Return why the program would not accept a call; empty if it does."""
    try:
        return _refused(example)
    except click.UsageError as error:
        return error.format_message()


def _refused(example: Example) -> str:
    command: click.Command = cli
    context = click.Context(cli, info_name="certmgr")
    words: Sequence[str] = example.words
    if not example.whole:
        # A sentence names an option without its value, and alternatives: show / edit, [--from csv].
        words = [*itertools.takewhile(lambda w: w != "/" and w[0] not in "[{", words), "VALUE"]
    while True:
        given, left, _ = command.make_parser(context).parse_args(list(words))
        if isinstance(command, click.Group) and left:
            found = command.get_command(context, left[0])
            if found is None:
                # A placeholder stands for any command: certmgr COMMAND --help.
                return "" if _placeholder(left[0]) else f"there is no command {left[0]!r}"
            command, words = found, left[1:]
            context = click.Context(command, info_name=left[0], parent=context)
            continue
        if left and (example.whole or left != ["VALUE"]):
            return f"too many arguments: {left}"
        return _wrong_value(command, context, given, example.whole)


def _wrong_value(
    command: click.Command, context: click.Context, given: dict[str, object], whole: bool
) -> str:
    helped = "help" in given
    for parameter in command.params:
        value = given.get(parameter.name or "")
        if value in (None, ()) or "UNSET" in repr(value):
            # A sentence may name a command without its arguments.
            if parameter.required and whole and not helped:
                return f"{parameter.name} is missing"
            continue
        for each in value if isinstance(value, (tuple, list)) else (value,):
            checked = isinstance(parameter.type, (click.Choice, click.IntRange, click.FloatRange))
            if checked and isinstance(each, str) and not _placeholder(each):
                parameter.type.convert(each, parameter, context)
    return ""


def _placeholder(word: str) -> bool:
    return word == "..." or bool(re.fullmatch(r"\[?[A-Z][A-Z0-9_-]*\]?(\.\.\.)?\]?", word))
