"""Answers to a shell that asks for completions at TAB.

The commands and options stand in ``command_tree.json``, which ``make docs`` writes, so that no
command is imported. Client numbers, domains and the like are read from an SQLite database, without
changing it and without SQLAlchemy. Whatever fails, the shell gets no completions and no message.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from certmgr.cli.guidance import bash_words
from inventory.errors import CertmgrError
from inventory.files import read_regular
from inventory.store.completions import KINDS, beginning_with
from inventory.text import printable

COMPLETE_VARIABLE = "_CERTMGR_COMPLETE"
WORDS_VARIABLE = "_CERTMGR_WORDS"
BREAKS_VARIABLE = "_CERTMGR_BREAKS"
MAX_VALUES = 500
_MAX_FILE = 4_000_000  # bytes

Candidate = tuple[str, str]


def answer_shell(environ: Mapping[str, str]) -> int:
    """Print the completions of the words in the environment, one per line; return the exit code.

    bash gives the line as it is typed, up to the cursor; zsh and fish give one word per line,
    without its quotes.
    """
    text = environ.get(WORDS_VARIABLE, "")
    shell = environ[COMPLETE_VARIABLE]
    line = bash_words.parse(text, environ.get(BREAKS_VARIABLE, "")) if shell == "bash" else None
    words = text.split("\n") if line is None else line.words
    # A message would appear in the middle of the line that the user types.
    try:
        candidates = list(completions(words[1:] or [""], environ))
    except (OSError, ValueError, KeyError, sqlite3.Error, RecursionError, CertmgrError):
        candidates = []
    for value, text in candidates:
        described = printable(text, 60)
        if line is not None:
            print(line.insertion(value))
        elif shell == "zsh":
            # _describe separates value and description by a colon, and removes the backslashes.
            parts = [p.replace("\\", "\\\\").replace(":", "\\:") for p in (value, described) if p]
            print(":".join(parts))
        else:
            print(f"{value}\t{described}")
    return 0


def tree() -> dict[str, Any]:
    """Return the commands: "" and "domain show" -> their commands, options and arguments."""
    text = Path(__file__).with_name("command_tree.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def completions(words: Sequence[str], environ: Mapping[str, str]) -> Iterator[Candidate]:
    """Yield what the last word may become, with a description.

    Args:
        words: The words after "certmgr"; the last one is incomplete.
        environ: The environment, which may name the configuration.
    """
    commands = tree()
    path, node, arguments, chosen = "", commands[""], 0, dict[str, str]()
    waiting = ""  # the option whose value comes next
    for word in words[:-1]:
        if waiting:
            chosen[waiting], waiting = word, ""
        elif word.startswith("-") and word != "-":
            option = node["options"].get(word.partition("=")[0])
            if option and option["kind"] != "flag" and "=" not in word:
                waiting = word
            elif "=" in word:
                chosen[word.partition("=")[0]] = word.partition("=")[2]
        elif word in node["commands"]:
            path = f"{path} {word}".strip()
            node, arguments = commands[path], 0
        else:
            arguments += 1
    last = words[-1]
    if waiting:
        yield from _values(node["options"][waiting], last, chosen, environ)
    elif last.startswith("--") and "=" in last:
        name, _, begun = last.partition("=")
        for value, text in _values(node["options"].get(name, {}), begun, chosen, environ):
            yield f"{name}={value}", text
    elif last.startswith("-"):
        yield from _beginning(((n, o["help"]) for n, o in node["options"].items()), last)
    elif node["commands"]:
        yield from _beginning(node["commands"].items(), last)
    elif node["arguments"]:
        # The last argument may be given several times.
        argument = node["arguments"][min(arguments, len(node["arguments"]) - 1)]
        yield from _values(argument, last, chosen, environ)


def _beginning(candidates: Iterable[Candidate], begun: str) -> Iterator[Candidate]:
    return ((v, t) for v, t in candidates if v.startswith(begun))


def _values(
    parameter: Mapping[str, Any], begun: str, chosen: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[Candidate]:
    """Yield the values of an option or argument."""
    if "values" in parameter:
        return _beginning(((v, "") for v in parameter["values"]), begun)
    file = _database_file(chosen, environ)
    if parameter.get("kind") not in KINDS or file is None or not file.is_file():
        return iter(())
    # Each shell quotes what it inserts, so that $(id) stays a text. A control character would end a
    # line of the answer, or move the cursor of the terminal.
    return (
        (value, text)
        for value, text in beginning_with(file, str(parameter["kind"]), begun, MAX_VALUES)
        if printable(value, len(value)) == value
    )


def _database_file(chosen: Mapping[str, str], environ: Mapping[str, str]) -> Path | None:
    """Return the SQLite file that the command would open; None for other databases."""
    url = chosen.get("--database") or environ.get("CERTMGR_DATABASE_URL", "")
    if not url:
        named = chosen.get("--config") or environ.get("CERTMGR_CONFIG")
        file = Path(named or Path(platformdirs.user_config_dir("certmgr")) / "certmgr.toml")
        if file.is_file():
            url = (
                tomllib.loads(read_regular(file, _MAX_FILE).decode())
                .get("database", {})
                .get("url", "")
            )
    kind, _, rest = url.partition(":")
    if kind == "env":
        url = environ.get(rest, "")
    elif kind == "file":
        url = read_regular(Path(rest), _MAX_FILE).decode("utf-8").strip()
    if not url:
        return Path(platformdirs.user_data_dir("certmgr")) / "certmgr.db"
    url = os.path.expanduser(url.removeprefix("sqlite:///"))  # noqa: PTH111 - a text, not a path
    return None if "://" in url else Path(url)
