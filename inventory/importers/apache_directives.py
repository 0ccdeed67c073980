"""The directives of an Apache configuration that apply: files, macros, variables and conditions.

Apache has one directive per line, and a backslash continues it. The parsers on PyPI have no line
numbers, know no macros, and have had no release for years.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from inventory.errors import UsageError
from inventory.importers import includes
from inventory.importers.apache_modules import Modules
from inventory.importers.table import decode, read_source
from inventory.text import printable

# Limits against a configuration that includes a whole file system, or expands without end.
MAX_FILES = 2000
MAX_BYTES = 4_000_000  # per file
MAX_DEPTH = 20
MAX_DIRECTIVES = 200_000
MAX_EXPANDED = 8_000_000  # characters of expanded macros
MAX_LINE = 10_000  # characters of an expanded line
_VARIABLE = re.compile(r"\$\{([^}\s]{1,200})\}")
_CONDITIONS = ("ifdefine", "ifmodule", "iffile", "ifversion")
# Quotation marks count at the beginning of a word alone, and a missing one ends with the line.
_WORD = re.compile(r"\"((?:[^\"\\]|\\.)*)\"?|'((?:[^'\\]|\\.)*)'?|(\S+)", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\\"'])")
_NAMED = re.compile(r"(?:ServerName|ServerAlias)\s+(\S+)", re.I)
_REPEATED, MAX_REPEATED = re.compile(r"[*+?]"), 4
# All versions of the last fifteen years: which one reads the file is not known.
_VERSION = (2, 4, 60)
_Numbers = tuple[int, ...]
_COMPARISONS: dict[str, Callable[[_Numbers, _Numbers], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
}
Line = tuple[str, str]  # file and line, text


class Directives:
    """Reads a configuration with its includes, macros and variables.

    Attributes:
        path: The main file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = path.parent
        # What absolute paths of a moved configuration begin with instead.
        self._moved = ""
        self._defines: dict[str, str] = {}
        self._macros: dict[str, tuple[list[str], list[Line]]] = {}
        self._files = self._count = self._expanded = 0
        self._modules = Modules()
        self._search = includes.IncludeSearch(path)

    def read(self) -> Iterator[tuple[str, list[str] | str]]:
        """Yield (file and line, words) per directive that applies; for a bad line, the reason."""
        yield from self._directives(self._lines(self.path), [self.path.resolve()], 0)

    def _lines(self, path: Path) -> Iterator[Line]:
        """Yield the lines of a file, joined where a backslash continues them."""
        data = read_source(path, MAX_BYTES)
        pending, first_line = "", 0
        for number, line in enumerate(decode(data).splitlines(), 1):
            # A directive that continues over several lines is reported with its first line.
            first_line = first_line or number
            if line.endswith("\\"):
                pending += line[:-1]
                continue
            text, where = (pending + line).strip(), f"{path}:{first_line}"
            pending, first_line = "", 0
            if text and not text.startswith("#"):
                yield where, text

    def _directives(
        self, lines: Iterator[Line], stack: list[Path], depth: int
    ) -> Iterator[tuple[str, list[str] | str]]:
        for where, raw in lines:
            self._count += 1
            if self._count > MAX_DIRECTIVES:
                raise UsageError(f"{self.path} expands to over {MAX_DIRECTIVES:,} directives")
            text = _VARIABLE.sub(lambda m: self._defines.get(m[1], m[0]), raw)
            words = _words(text)
            name = words[0].lower()
            self._modules.note(name)
            if name == "<macro" and len(words) > 1:
                body = list(_until(lines, "macro"))
                self._macros[words[1].lower()] = (words[2:], body)
            elif name.lstrip("<") in _CONDITIONS and name.startswith("<"):
                if self._applies(name[1:], words[1:]):
                    if name == "<ifmodule":
                        self._modules.open_block(where, words[-1])
                else:
                    body = list(_until(lines, name[1:]))
                    # What the configuration itself defines is certain.
                    if not (name == "<ifdefine" and words[-1].lstrip("!") in self._defines):
                        yield from _left_out(where, text, body)
            elif name.startswith("</ifmodule"):
                yield from self._modules.close_block()
            elif name == "loadmodule" and len(words) > 2:
                self._modules.load(words[1], words[2])
            elif name == "use" and len(words) > 1:
                yield from self._use(where, words[1:], stack, depth)
            elif name == "define" and len(words) > 1:
                self._defines[words[1]] = words[2] if len(words) > 2 else ""
            elif name == "undefine" and len(words) > 1:
                self._defines.pop(words[1], None)
            elif name in ("include", "includeoptional") and len(words) == 2:
                yield from self._include(where, name, words[1], stack, depth)
            elif name == "serverroot" and len(words) == 2:
                yield from self._server_root(where, words[1])
            else:
                yield where, words

    def _server_root(self, where: str, value: str) -> Iterator[tuple[str, str]]:
        """Take the folder that relative paths after ServerRoot are relative to."""
        if os.path.isdir(value):  # noqa: PTH112 (false for a path that is too long)
            self._root = Path(value)
            return
        # In a copy of a configuration, or one of Windows, the folder has another place.
        folder = self.path.parent
        self._root = folder.parent if folder.name == "conf" else folder
        self._moved = value.rstrip("/") + "/"
        shown = printable(value, 100)
        yield where, f"ServerRoot {shown} does not exist here: {self._root} is read instead"

    def _applies(self, condition: str, args: list[str]) -> bool:
        """Return whether the directives of a condition apply."""
        value = " ".join(args)
        negated, value = value.startswith("!"), value.removeprefix("!").strip()
        match condition:
            case "ifdefine":
                # Options -D of the command line are not known, so only "Define" counts.
                found = value in self._defines
            case "iffile":
                found = os.path.exists(self._root / value)  # noqa: PTH110
            case "ifversion":
                found = _is_version(value)
            case _:
                found = self._modules.is_loaded(value)
        return found != negated

    def _use(
        self, where: str, args: list[str], stack: list[Path], depth: int
    ) -> Iterator[tuple[str, list[str] | str]]:
        macro = self._macros.get(args[0].lower())
        if macro is None or depth >= MAX_DEPTH:
            reason = "is not defined" if macro is None else "is nested too deeply"
            yield where, f"the macro {printable(args[0], 60)} {reason}"
            return
        parameters, body = macro
        # The longest parameter first, as Apache does: $name before $na.
        values = sorted(
            zip(parameters, args[1:], strict=False), key=lambda p: len(p[0]), reverse=True
        )

        def lines() -> Iterator[Line]:
            for at, text in body:
                self._expanded += len(text)
                if self._expanded > MAX_EXPANDED:
                    raise UsageError(f"{self.path} expands to over {MAX_EXPANDED >> 20} MB")
                for parameter, value in values:
                    text = text.replace(parameter, value)[:MAX_LINE]
                self._expanded += len(text)
                yield at, text

        yield from self._directives(lines(), stack, depth + 1)

    def _include(
        self, where: str, name: str, pattern: str, stack: list[Path], depth: int
    ) -> Iterator[tuple[str, list[str] | str]]:
        if self._moved and pattern.startswith(self._moved):
            pattern = pattern.removeprefix(self._moved)
        full = pattern if pattern.startswith("/") else f"{self._root}/{pattern}"
        included = self._included(full)
        if isinstance(included, str):
            yield where, included
            return
        if not included and name == "include" and not includes.has_wildcard(pattern):
            yield where, f"Include {printable(pattern, 100)}: there is no such file"
        # Apache ignores it. In a copy of a configuration it would leave the names out unseen.
        elif not included and (folder := includes.missing_folder(full)):
            shown = printable(folder, 100)
            yield where, f"Include {printable(pattern, 100)}: there is no folder {shown} here"
        # Empty files count as well: any number of lines may include all of them.
        self._count += len(included)
        for file in included:
            real = file.resolve()
            # A snippet may be included several times, but not by itself.
            if real in stack or depth >= MAX_DEPTH or self._files >= MAX_FILES:
                yield where, f"{printable(str(file), 100)} includes itself, or too many files"
                continue
            self._files += 1
            try:
                yield from self._directives(self._lines(file), [*stack, real], depth + 1)
            except UsageError as error:
                # A limit of the whole configuration, and not of this file.
                if (
                    self._count > MAX_DIRECTIVES
                    or self._expanded > MAX_EXPANDED
                    or self._search.exhausted
                ):
                    raise
                yield f"{file}:0", printable(str(error), 200)

    def _included(self, pattern: str) -> list[Path] | str:
        """Return the files that an Include names, or why it cannot be followed.

        For a folder, these are all of its files, and those of the folders in it.
        """
        if not pattern.strip("/"):
            return f"Include {printable(pattern, 80)} would include the whole file system"
        try:
            found = self._search.files(pattern, folders=True)
        except ValueError as error:
            shown = printable(str(error), 80)
            return f"Include {printable(pattern, 80)} cannot be followed: {shown}"
        return [Path(f) for f in found[:MAX_FILES]]


def _until(lines: Iterator[Line], kind: str) -> Iterator[Line]:
    """Yield the lines of a block until its end, with blocks of the same kind in it."""
    depth = 1
    for where, text in lines:
        lowered = text.lower()
        depth += bool(re.match(rf"<{kind}[\s>]", lowered))
        depth -= bool(re.match(rf"</{kind}\s*>", lowered))
        if not depth:
            return
        yield where, text


def _left_out(where: str, condition: str, body: list[Line]) -> Iterator[tuple[str, str]]:
    """Yield a block that does not apply, if it has names of sites."""
    names = dict.fromkeys(m[1] for _, text in body if (m := _NAMED.match(text)))
    if names:
        yield (
            where,
            f"{printable(condition, 80)} does not apply as far as this file shows, so"
            f" {printable(', '.join(list(names)[:3]), 150)} is left out: import the output of"
            " apachectl -t -D DUMP_VHOSTS, or add the names with certmgr domain add",
        )


def _is_version(condition: str) -> bool:
    """Return whether a condition of IfVersion holds for the versions that are in use."""
    sign, _, version = condition.rpartition(" ")
    sign, shown = sign.strip() or "=", ".".join(map(str, _VERSION))
    if sign == "~" or version.startswith("/"):
        expression = version.strip("/")
        # Repetitions within each other take years even for a few characters. Which version reads
        # the file is not known anyway.
        if "{" in expression or len(_REPEATED.findall(expression)) > MAX_REPEATED:
            return True
        try:
            return re.search(expression, shown) is not None
        except (re.error, RecursionError, OverflowError):
            return True
    numbers = [int(n) for n in version.split(".") if n.isascii() and n.isdigit()]
    compare = _COMPARISONS.get(sign)
    # Apache refuses it.
    if compare is None or not numbers:
        return True
    return compare(_VERSION, tuple([*numbers, 0, 0][:3]))


def _words(text: str) -> list[str]:
    """Return the words of a directive."""
    # The closing bracket of <VirtualHost *:443> is not part of the address.
    opening = text.startswith("<") and not text.startswith("</")
    bare = text.rstrip(">") if opening else text
    # Most lines have no quotes, and splitting at blanks is a hundred times faster.
    if not set(bare) & set("\"'"):
        return bare.split() or [text]
    return [
        word if word else _ESCAPE.sub(r"\1", double or single)
        for double, single, word in _WORD.findall(bare)
    ]
