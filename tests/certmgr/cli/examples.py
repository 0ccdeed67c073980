"""Calls of certmgr in help texts and documentation, read by the parser of the program."""

from __future__ import annotations

import ast
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
        # Two blanks divide a call from its description.
        yield from _calls(path.name, re.split(r"\s{2,}", block)[0], True)
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


def of_messages(path: Path) -> Iterator[Example]:
    """Yield the calls that strings of a module name, up to the end of the sentence or clause.

    What an f-string inserts is a placeholder. Docstrings count too: that of a command is its help.
    """
    source = path.read_text(encoding="utf-8")
    # Most modules name no call, and parsing them would take most of the time.
    if not re.search(r"\bcertmgr [a-z-]", source):
        return
    nodes = list(ast.walk(ast.parse(source)))
    inner = {id(p) for n in nodes if isinstance(n, ast.JoinedStr) for p in n.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "VALUE" for p in node.values)
            text = "".join(str(p) for p in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = "" if id(node) in inner else node.value
        else:
            continue
        for sentence in re.split(r"[.!?](?:\s|$)", text):
            for call in re.findall(r"\bcertmgr((?: [^\s,;:()`'\"]+)+)", sentence):
                yield Example(path.name, tuple(call.split()), False)


def unknown_option(example: Example) -> str:
    """Return the first option of a call in a sentence that its command does not have."""
    command: click.Command = cli
    context = click.Context(cli)
    known = {"--help", "--version"} | {o for p in cli.params for o in (*p.opts, *p.secondary_opts)}
    naming, value = True, False
    for word in example.words:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if word.startswith("-"):
            long = word.startswith("--") and "VALUE" not in word
            if long and word.partition("=")[0] not in known:
                return word
        elif word == "VALUE" and naming and not value:
            # The command is inserted, so its options are not known here.
            return ""
        elif found is not None and naming:
            command = found
            known |= {o for p in found.params for o in (*p.opts, *p.secondary_opts)}
        elif not value:
            # An argument, or the rest of the sentence.
            naming = False
        value = word.startswith("-")
    return ""
