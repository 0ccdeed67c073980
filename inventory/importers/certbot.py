"""certbot's directory: a lineage per file of renewal/, with the names of its live certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from inventory.certificates import Certificate, from_pem
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.format import ImportFormat, of_names
from inventory.importers.hosts import skip_reason
from inventory.text import printable

MAX_FILE = 1_000_000


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per name of each lineage, with the provider as the party that renews.

    Args:
        path: The directory of certbot, usually /etc/letsencrypt.
        client: Customer number of the names.

    Raises:
        UsageError: The path is not a directory of certbot.
    """
    renewal = path / "renewal"
    if not renewal.is_dir():
        raise UsageError(
            f"{path} is not certbot's directory",
            "it has no folder 'renewal'",
            "Name /etc/letsencrypt, or a copy of it.",
        )
    # In a fixed order, so that two imports of one folder report the same.
    for file in sorted(renewal.glob("*.conf")):
        lineage = file.stem
        where = f"{file}:1"
        leaf = _leaf(path, file)
        if leaf is None:
            yield ImportProblem(
                where,
                f"the lineage {printable(lineage, 80)} has no readable certificate: neither"
                " cert.pem nor fullchain.pem in live or archive",
            )
            continue
        # Without a DNS name there is no domain to import.
        if not leaf.dns_names:
            yield ImportProblem(
                where, f"the certificate of the lineage {printable(lineage, 80)} has no DNS name"
            )
        for name in leaf.dns_names:
            if (reason := skip_reason(name)) is not None:
                yield ImportProblem(where, f"'{printable(name, 80)}' {reason}")
                continue
            # certbot runs on a server of the provider, so the provider renews.
            fields = {"renews": "us", "note": f"certbot lineage: {printable(lineage, 100)}"}
            yield ImportRow(where, client=client, domain=name, domain_fields=fields)


def _leaf(path: Path, file: Path) -> Certificate | None:
    """Return the leaf of a lineage; None if no file has it.

    cert.pem may be missing: fullchain.pem begins with the same certificate. A copy of the directory
    may lack ``live`` or its links, so the newest version in ``archive`` counts too, and a lineage
    that was renamed has its folder in its configuration.
    """
    for folder in dict.fromkeys((file.stem, *_configured(file))):
        live, archive = path / "live" / folder, path / "archive" / folder
        # Live first: it is what the server uses.
        candidates = [live / "cert.pem", live / "fullchain.pem"]
        for kind in ("cert", "fullchain"):
            candidates += sorted(archive.glob(f"{kind}*.pem"), key=_version, reverse=True)[:1]
        for candidate in candidates:
            with suppress(CertmgrError, ValueError):
                # The first certificate of either file is the leaf.
                found = from_pem(read_regular(candidate, MAX_FILE))[0]
                if found.parsed is not None:
                    return found
    return None


def _version(path: Path) -> int:
    # Versions count 1, 2, ..., 10, which sort wrongly as text.
    digits = path.stem.lstrip("certfulhain")
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _configured(file: Path) -> Iterator[str]:
    """Yield the names of the folders that a renewal configuration names."""
    try:
        text = read_regular(file, MAX_FILE).decode("utf-8", "replace")
    except CertmgrError:
        return
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key in ("cert", "fullchain") and value:
            folder = Path(value.strip("'\"")).parent.name
            # The name becomes part of a path below the directory that the user named.
            if folder not in ("", "..") and "\0" not in folder:
                yield folder


FORMAT = ImportFormat(
    name="certbot",
    summary="certbot's folder, usually /etc/letsencrypt, or a copy of it",
    read=of_names(read),
    is_folder=lambda path: (path / "renewal").is_dir(),
)
