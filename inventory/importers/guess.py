"""The format of a file, by the signs that each format declares. Reads the file."""

from __future__ import annotations

import re
from pathlib import Path

from inventory.errors import UsageError
from inventory.importers.format import Certainty, SourceSample, formats
from inventory.importers.table import decode, read_source

# Bytes: enough for the license headers that some configurations begin with.
MAX_SAMPLE = 200_000
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
    """Return the name of the format of a file or folder.

    Raises:
        UsageError: It cannot be read, or its format is not known.
    """
    if path.is_dir():
        return _folder_format(path)
    data = read_source(path)
    sample = SourceSample(path, data, decode(data[:MAX_SAMPLE]))
    for certainty in sorted(Certainty, reverse=True):
        # Tables and words are what a file is taken for if nothing else is certain.
        if certainty == Certainty.COLUMNS:
            _refuse_other_servers(sample)
        for found in formats().values():
            if (sign := found.signs.get(certainty)) is not None and sign(sample):
                return found.name
    raise UsageError(
        f"The format of {path} is not known",
        "its content is none that certmgr reads",
        f"Name it: --from {_listed(list(formats()))}.",
    )


def _folder_format(path: Path) -> str:
    # By its content, since a copy of /etc/letsencrypt may have any name.
    folders = [f for f in formats().values() if f.is_folder is not None]
    for found in folders:
        if found.is_folder is not None and found.is_folder(path):
            return found.name
    raise UsageError(
        f"{path} is a folder",
        f"only the folder of {_listed([f.name for f in folders])} is imported as a whole",
        "Name a file.",
    )


def _refuse_other_servers(sample: SourceSample) -> None:
    for server, mark, where in _OTHER_SERVERS:
        if mark.search(sample.text):
            raise UsageError(
                f"{sample.path} is a configuration of {server}",
                "certmgr does not read it",
                f"Write its names into a text file, one per line, and import that with --from names"
                f" ({where}).",
            )


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)
