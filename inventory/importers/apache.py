"""Apache configuration, read as Apache reads it: virtual hosts and their names.

The output of ``apachectl -t -D DUMP_VHOSTS`` is a source too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from inventory.errors import UsageError
from inventory.importers.apache_directives import Directives
from inventory.importers.apache_hosts import (
    DUMP_HEAD,
    Host,
    dumped,
    port_of,
    rows_of,
)
from inventory.importers.entry import ImportProblem, ImportRow, distinct
from inventory.importers.format import Certainty, ImportFormat, of_names
from inventory.importers.hosts import is_local
from inventory.importers.table import decode, read_source

# A blank line, a long line or many blanks must not be searched again from each of their characters.
_DIRECTIVE = re.compile(
    r"^[^\S\n]*(<VirtualHost|<Macro|ServerRoot|DocumentRoot\b|LoadModule)", re.I | re.M
)
_DUMP = re.compile(f"^{DUMP_HEAD}", re.M)


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name and port of the VirtualHost blocks; what is left out, once each.

    Include and IncludeOptional are followed, relative to ServerRoot or to the folder of the file.

    Args:
        path: The main configuration file, a file with VirtualHost blocks, or the output of
            ``apachectl -t -D DUMP_VHOSTS``.
        client: Customer number of the names.

    Raises:
        UsageError: The path is not a readable file.
    """
    if not path.exists():
        raise UsageError(
            f"{path} is not a file",
            "",
            "Name apache2.conf, httpd.conf, or a file with VirtualHost blocks.",
        )
    text = decode(read_source(path))
    yield from distinct(dumped(text, client) if DUMP_HEAD in text else _Sites(path, client).rows())


class _Sites:
    """The virtual hosts of a configuration."""

    def __init__(self, path: Path, client: str) -> None:
        self.path, self.client = path, client
        self.hosts: list[Host] = []
        self.open: Host | None = None
        # What stands outside of a host is the default of the hosts that follow.
        self.main = Host(f"{path}:1")
        # Names whose certificates mod_md renews, which a directive behind the host may name.
        self.managed: set[str] = set()

    def rows(self) -> Iterator[ImportRow | ImportProblem]:
        for where, words in Directives(self.path).read():
            if isinstance(words, str):
                yield ImportProblem(where, words)
                continue
            yield from self._directive(where, words[0].lower(), words[1:])
        yield from self._unclosed()
        # A server without a virtual host, or with TLS for what no virtual host answers, is a site.
        if self.main.names and (self.main.tls or not self.hosts):
            self.hosts.append(self.main)
        for host in self.hosts:
            host.managed = next((n for n, _ in host.names if n.lower() in self.managed), "")
            yield from rows_of(host, self.client)

    def _directive(self, where: str, name: str, args: list[str]) -> Iterator[ImportProblem]:
        if name == "<virtualhost":
            yield from self._unclosed()
            reached = [port_of(a) for a in args if not is_local(a)]
            local = [port_of(a) for a in args if is_local(a)]
            unknown = next((a for a in args if "${" in a), "")
            self.open = Host(where, reached, tls=self.main.tls, local=local, variable=unknown)
        elif name.startswith("</virtualhost") and self.open is not None:
            self.hosts.append(self.open)
            self.open = None
        elif name in ("mdomain", "<mdomain", "<mdomainset", "mdmember", "mdmembers"):
            self.managed |= {a.lower() for a in args} - {"auto", "manual"}
        elif self.open is not None:
            self.open.add(name, args, where)
        else:
            self._add_to_main(where, name, args)

    def _add_to_main(self, where: str, name: str, args: list[str]) -> None:
        if name == "servername" and args:
            # Its port is that under which it refers to itself.
            self.main.names, self.main.where = [], where
            self.main.ports = [port] if (port := port_of(args[0])) else []
        if name in ("servername", "sslengine", "sslcertificatefile"):
            self.main.add(name, args, where)

    def _unclosed(self) -> Iterator[ImportProblem]:
        """Yield the block that is still open where none may be, as Apache refuses it."""
        if self.open is not None:
            yield ImportProblem(
                self.open.where, "this VirtualHost block is not closed: its names were not read"
            )
            self.open = None


FORMAT = ImportFormat(
    name="apache",
    summary="a configuration of Apache, or the output of `apachectl -t -D DUMP_VHOSTS`",
    read=of_names(read),
    signs={
        Certainty.HEADING: lambda sample: _DUMP.search(sample.text) is not None,
        Certainty.DIRECTIVES: lambda sample: _DIRECTIVE.search(sample.text) is not None,
    },
)
