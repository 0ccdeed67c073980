"""Which modules of Apache are loaded where a configuration asks for them with IfModule.

Apache decides while it reads the configuration: a module counts from its LoadModule line on.
"""

from __future__ import annotations

from collections.abc import Iterator

from inventory.text import printable

# Each program has these; mod_so is what loads the others.
_ALWAYS = frozenset({"core", "http", "so"})
# Modules that some distributions compile into the program, so that no line loads them.
_COMPILED = frozenset({"watchdog", "log_config", "logio", "version", "unixd"})
# Their file names differ from that of the module: mod_NAME.c is the rule.
_FILES = {
    "core.c": "core",
    "http_core.c": "http",
    "event.c": "mpm_event",
    "worker.c": "mpm_worker",
    "prefork.c": "mpm_prefork",
    "mpm_winnt.c": "mpm_winnt",
}
# Directives by which a block decides on sites. Others may be assumed without a word.
_DECIDING = frozenset(
    {
        "<virtualhost",
        "servername",
        "serveralias",
        "sslengine",
        "gnutlsenable",
        "mdomain",
        "<mdomainset",
        "include",
        "includeoptional",
        "use",
        "define",
        "<macro",
        "proxyprotocol",
        "remoteipproxyprotocol",
    }
)


class Modules:
    """The modules that were loaded so far, and the blocks that depend on others."""

    def __init__(self) -> None:
        self._loaded: set[str] = set()
        # Per open block: file and line, and the module that was assumed (empty: none was).
        self._open: list[tuple[str, str]] = []
        # How many of the open blocks decide on sites, counted from the outermost one.
        self._deciding = 0
        self._reported: set[str] = set()

    def load(self, identifier: str, file: str) -> None:
        """Take a LoadModule line, such as ``ssl_module modules/mod_ssl.so``."""
        self._loaded.add(_module(identifier))
        # A module of another vendor may have a file that is named after its source file.
        name = file.replace("\\", "/").rpartition("/")[2]
        if name.startswith("mod_") and name.endswith(".so"):
            self._loaded.add(name.removeprefix("mod_").removesuffix(".so"))

    def is_loaded(self, name: str) -> bool:
        """Return whether a module is loaded, or assumed to be.

        A configuration that loads modules names all of them, except for those that are compiled in.
        One that loads none is a part of another, such as the file of a site: the modules of a site
        are loaded.
        """
        module = _module(name)
        if module in self._loaded or not self._loaded:
            return True
        if module.startswith("mpm_"):
            # A program has one of them.
            return not any(m.startswith("mpm_") for m in self._loaded)
        return module in _ALWAYS or module in _COMPILED

    def open_block(self, where: str, condition: str) -> None:
        """Begin an IfModule block that applies."""
        module = _module(condition.lstrip("!").strip())
        is_certain = condition.startswith("!") or module in self._loaded | _ALWAYS
        self._open.append((where, "" if is_certain else module))

    def note(self, directive: str) -> None:
        """Take a directive, by its name in lower case."""
        if directive in _DECIDING:
            self._deciding = len(self._open)

    def close_block(self) -> Iterator[tuple[str, str]]:
        """End a block. Yield its assumption, if it decides on sites; each module once."""
        if not self._open:
            return
        where, module = self._open.pop()
        decides = self._deciding > len(self._open)
        self._deciding = min(self._deciding, len(self._open))
        if module and decides and module not in self._reported:
            self._reported.add(module)
            shown = printable(module, 60)
            yield (
                where,
                f"the module {shown} is assumed to be loaded, since no LoadModule line names it:"
                f" if it is not, Apache skips the blocks of <IfModule {shown}_module>",
            )


def _module(name: str) -> str:
    """Return the name of a module: ssl of ssl_module, mod_ssl.c or mod_ssl.cc."""
    if name in _FILES:
        return _FILES[name]
    for end in (".c", ".cc", ".cpp"):
        if name.startswith("mod_") and name.endswith(end):
            return name.removeprefix("mod_").removesuffix(end)
    return name.removesuffix("_module")
