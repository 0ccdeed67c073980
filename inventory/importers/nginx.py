"""nginx configuration: names, ports and certificates of server blocks, read as nginx reads them.

Includes are followed wherever they stand, relative to the folder of nginx.conf. The output of
``nginx -T`` is a source too. crossplane parses the blocks.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import crossplane

from inventory.errors import UsageError
from inventory.importers import includes
from inventory.importers.entry import ImportProblem, ImportRow, distinct
from inventory.importers.format import Certainty, ImportFormat, of_names
from inventory.importers.nginx_servers import Scope, inherited, server_rows
from inventory.importers.table import decode, read_source
from inventory.text import printable

# Limits against files that include each other, and against a configuration that includes a lot.
MAX_FILES = 5000
MAX_DEPTH = 20
MAX_DIRECTIVES = 2_000_000
_MAX_FILE = 16 * 1024 * 1024
_DUMPED = re.compile(r"^# configuration file (.+):[^\S\n]*$", re.M)
# A blank line, a long line or many blanks must not be searched again from each of their characters.
_BLOCK = re.compile(r"^[^\S\n]*(server|http|stream|mail|events)\s{0,200}\{", re.M)

_LUA_BLOCK = re.compile(r"_by_lua_block(?:\s+\$\w+)?\s*\{")
_LUA_TOKEN = re.compile(r"--\[=*\[|--|\[=*\[|[\"'{}]")
_LUA_STRINGS = {
    '"': re.compile(r'(?:[^"\\]|\\.)*"', re.S),
    "'": re.compile(r"(?:[^'\\]|\\.)*'", re.S),
}


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name and port of the server blocks; what is left out is a problem, once.

    Args:
        path: nginx.conf, a file with server blocks, or the output of ``nginx -T``.
        client: Customer number of the names.

    Raises:
        UsageError: The file cannot be read.
    """
    yield from distinct(_Reader(path, client).rows())


class _Reader:
    def __init__(self, path: Path, client: str) -> None:
        self.client = client
        self.path = path
        text = decode(read_source(path, 256 << 20))
        parts = _DUMPED.split(text)
        # The dump names each file before its content.
        files = zip(parts[1::2], parts[2::2], strict=True)
        self.dumped = {n: x.removeprefix("\n") for n, x in files} if len(parts) > 2 else None
        self.main = parts[1] if self.dumped is not None else str(path)
        self.root = os.path.dirname(self.main)  # noqa: PTH120
        self.problems: list[ImportProblem] = []
        self.parsed: dict[str, list[dict[str, Any]]] = {}
        self.directives = 0
        self.search = includes.IncludeSearch(path)

    def rows(self) -> Iterator[ImportRow | ImportProblem]:
        yield from self._block(self.main, self._parse(self.main), Scope(), 0)
        yield from self.problems

    def _parse(self, name: str) -> list[dict[str, Any]]:
        """Return the directives of one file, without its includes."""
        if name not in self.parsed:
            if len(self.parsed) >= MAX_FILES:
                raise UsageError(f"{self.path} includes more than {MAX_FILES:,} files")
            try:
                self.parsed[name] = self._parsed(name)
            except UsageError as error:
                # Only the main file must be readable.
                if name == self.main and self.dumped is None:
                    raise
                self.parsed[name] = []
                self.problems.append(ImportProblem(f"{name}:0", printable(str(error), 200)))
        return self.parsed[name]

    def _parsed(self, name: str) -> list[dict[str, Any]]:
        if self.dumped is None:
            text = decode(read_source(Path(name), _MAX_FILE))
        else:
            text = self.dumped[name]
        with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
            file.write(_without_lua(text))
            file.flush()
            try:
                result = crossplane.parse(
                    file.name, check_ctx=False, check_args=False, catch_errors=True, single=True
                )
            except (OSError, RecursionError, RuntimeError) as error:
                raise UsageError(f"{name} cannot be read", type(error).__name__) from None
            for fault in result["errors"]:
                reason = str(fault["error"]).replace(file.name, name).partition(" in ")[0]
                where = f"{name}:{fault.get('line') or 0}"
                self.problems.append(ImportProblem(where, printable(reason, 200)))
        parsed: list[dict[str, Any]] = result["config"][0]["parsed"]
        return parsed

    def _included(self, pattern: str, where: str) -> list[str]:
        full = os.path.join(self.root, pattern)  # noqa: PTH118
        shown, reason = printable(pattern, 100), ""
        if self.dumped is not None:
            found = self.search.among(self.dumped, full)
        else:
            try:
                found = self.search.files(full)
            except ValueError:
                found = []
            # nginx ignores it. In a copy of a configuration it would leave the names out unseen.
            if not found and (folder := includes.missing_folder(full)):
                reason = f"include {shown}: there is no folder {printable(folder, 100)} here"
        if not found and not includes.has_wildcard(pattern):
            reason = f"include {shown}: there is no such file"
        if reason:
            self.problems.append(ImportProblem(where, reason))
        return found

    def _flat(
        self, name: str, block: list[dict[str, Any]], depth: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (file, directive) of a block, with its includes in their place."""
        for directive in block:
            self.directives += 1
            if self.directives > MAX_DIRECTIVES:
                raise UsageError(f"{self.path} has more than {MAX_DIRECTIVES:,} directives")
            if directive["directive"] != "include" or not directive["args"]:
                yield name, directive
                continue
            where = f"{name}:{directive['line']}"
            if depth >= MAX_DEPTH:
                self.problems.append(ImportProblem(where, "includes are nested too deeply"))
                continue
            files = self._included(directive["args"][0], where)
            # Empty files count as well: any number of lines may include all of them.
            self.directives += len(files)
            for file in files:
                yield from self._flat(file, self._parse(file), depth + 1)

    def _block(
        self, name: str, block: list[dict[str, Any]], scope: Scope, depth: int
    ) -> Iterator[ImportRow | ImportProblem]:
        """Yield the rows of a block and of the blocks in it."""
        if depth > MAX_DEPTH:
            return
        directives = list(self._flat(name, block, 0))
        scope = inherited(directives, scope)
        for file, directive in directives:
            kind = directive["directive"]
            if "block" not in directive:
                continue
            # In an upstream, "server" has an argument and is no site.
            if kind == "server" and not directive["args"]:
                at = f"{file}:{directive['line']}"
                served = list(self._flat(file, directive["block"], 0))
                applied = inherited(served, scope)
                yield from server_rows(served, applied, at, self.client)
            elif kind in ("http", "stream", "mail"):
                yield from self._block(
                    file, directive["block"], replace(scope, kind=kind), depth + 1
                )
            elif kind not in ("upstream", "map", "geo", "types", "split_clients"):
                yield from self._block(file, directive["block"], scope, depth + 1)


def _without_lua(text: str) -> str:
    """Return a configuration with its blocks of Lua emptied; the numbers of its lines stay.

    Braces and quotation marks in comments and strings of Lua are no part of the configuration.
    """
    parts, position = [], 0
    while (block := _LUA_BLOCK.search(text, position)) is not None:
        end = _lua_end(text, block.end())
        # The parser reports what is not closed.
        if end < 0:
            break
        lines = text.count("\n", block.end(), end)
        parts += [text[position : block.end()], "\n" * lines]
        position = end
    return "".join([*parts, text[position:]])


def _lua_end(text: str, position: int) -> int:
    """Return where the brace that closes a block of Lua stands; -1 if there is none."""
    depth = 1
    while (found := _LUA_TOKEN.search(text, position)) is not None:
        sign, position = found[0], found.end()
        if sign == "{":
            depth += 1
        elif sign == "}":
            depth -= 1
            if not depth:
                return found.start()
        elif sign in _LUA_STRINGS:
            string = _LUA_STRINGS[sign].match(text, position)
            if string is None:
                return -1
            position = string.end()
        else:
            # A long comment or string ends with as many signs as it begins with.
            close = f"]{'=' * sign.count('=')}]" if sign.endswith("[") else "\n"
            end = text.find(close, position)
            if end < 0:
                return -1
            position = end + len(close)
    return -1


FORMAT = ImportFormat(
    name="nginx",
    summary="a configuration of nginx, or the output of `nginx -T`",
    read=of_names(read),
    signs={
        Certainty.HEADING: lambda sample: _DUMPED.search(sample.text) is not None,
        Certainty.BLOCKS: lambda sample: _BLOCK.search(sample.text) is not None,
    },
)
