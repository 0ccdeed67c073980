"""The format of a file, by its content. Pure except for reading the beginning of the file."""

from __future__ import annotations

import re
from pathlib import Path

from inventory.errors import UsageError
from inventory.importers.csv_format import COLUMNS
from inventory.importers.customer_lists import guess as guess_columns
from inventory.importers.hosts import skip_reason
from inventory.importers.names_format import names_of
from inventory.importers.table import Table, decode, read_source

# A blank line, a long line or many blanks must not be searched again from each of their characters.
_APACHE = re.compile(
    r"^[^\S\n]*(<VirtualHost|<Macro|ServerRoot|DocumentRoot\b|LoadModule)", re.I | re.M
)
_APACHE_DUMP = re.compile(r"^VirtualHost configuration:", re.M)
_NGINX = re.compile(
    r"^[^\S\n]*(server|http|stream|mail|events)\s{0,200}\{|^# configuration file ", re.M
)
_ZONE = re.compile(r"^\$(ORIGIN|TTL)\b|\sIN\s{1,200}SOA\s|\sSOA\s.{0,600}\(", re.I | re.M)
# Configurations that are recognised so that their lines are not taken for a list of names: the
# server, what only its configuration has, and how its administrator lists the names.
_OTHER_SERVERS = (
    (
        "Caddy",
        re.compile(
            r"^[^\S\n]*(reverse_proxy|file_server|php_fastcgi|handle_path|encode (gzip|zstd))\b",
            re.M,
        ),
        "caddy adapt --config FILE | jq -r '.. | .host? // empty | .[]'",
    ),
    (
        "HAProxy",
        re.compile(r"^(frontend|backend|listen)[^\S\n]{1,50}\S", re.M),
        "the names of its certificates (crt, crt-list) and of hdr(host)",
    ),
    (
        "Traefik",
        re.compile(r"\bHost(SNI|Header)?\([`'\"]"),
        "the names in its rules Host(...) and in tls.domains",
    ),
    (
        "IIS",
        re.compile(r"<bindings>|<binding protocol=", re.I),
        "(Get-WebBinding).bindingInformation in PowerShell",
    ),
    (
        "lighttpd",
        re.compile(r"^[^\S\n]*\$(HTTP|SERVER)\[", re.M),
        'the names in its conditions $HTTP["host"]',
    ),
)


def guess_format(path: Path) -> str:
    """Return csv, json, nginx, apache, certbot, zone or names.

    Raises:
        UsageError: The file cannot be read, or its format is not known.
    """
    if path.is_dir():
        # By its content, since a copy of /etc/letsencrypt may have any name.
        if (path / "renewal").is_dir():
            return "certbot"
        raise UsageError(
            f"{path} is a folder",
            "only certbot's directory is imported as a folder",
            "Name a file.",
        )
    data = read_source(path)
    # Enough for the license headers that some configurations begin with.
    text = decode(data[:200_000])
    if text.lstrip()[:1] == "{" and '"schema"' in text:
        return "json"
    if text.lstrip()[:1] == "{" and '"ResourceRecordSets"' in text:
        return "zone"
    # The most specific pattern first: a comment in a configuration may name another server.
    for name, pattern in (("apache", _APACHE_DUMP), ("nginx", _NGINX), ("apache", _APACHE)):
        if pattern.search(text):
            return name
    if _ZONE.search(text):
        return "zone"
    for server, mark, where in _OTHER_SERVERS:
        if mark.search(text):
            raise UsageError(
                f"{path} is a configuration of {server}",
                "certmgr does not read it",
                f"Write its names into a text file, one per line, and import that with --from names"
                f" ({where}).",
            )
    header = Table(path, data).header
    # One column could be a list of names whose first line is a title.
    if len(header) > 1 and {"client", "domain"} & set(guess_columns(header, COLUMNS)):
        return "csv"
    first = next((found for line in text.splitlines()[:50] if (found := names_of(line))), [])
    if first and skip_reason(first[0][0].removeprefix("*.")) is None:
        return "names"
    raise UsageError(
        f"The format of {path} is not known",
        "its content is none that certmgr reads",
        "Name it: --from csv, json, nginx, apache, certbot, zone or names.",
    )
