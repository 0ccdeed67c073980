"""certbot's directory: one lineage a file of renewal/, its names from the certificate in live/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inventory.certificates import from_pem
from inventory.errors import UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import skipped
from inventory.text import printable


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """``path``: usually /etc/letsencrypt. What certbot renews here is renewed by us."""
    renewal = path / "renewal"
    if not renewal.is_dir():
        raise UsageError(
            f"{path} is not certbot's directory",
            "it has no folder 'renewal'",
            "Name /etc/letsencrypt, or a copy of it.",
        )
    for file in sorted(renewal.glob("*.conf")):
        lineage = file.stem
        certificate = path / "live" / lineage / "cert.pem"
        where = f"{file}:1"
        try:
            leaf = from_pem(certificate.read_bytes()[:1_000_000])[0]
        except (OSError, ValueError) as error:
            yield ImportProblem(
                where,
                f"the certificate of the lineage {printable(lineage, 80)} cannot be read: {error}",
            )
            continue
        if not leaf.dns_names:
            yield ImportProblem(
                where, f"the certificate of the lineage {printable(lineage, 80)} has no DNS name"
            )
        for name in leaf.dns_names:
            if (why := skipped(name)) is not None:
                yield ImportProblem(where, f"'{printable(name, 80)}' {why}")
                continue
            fields = {"renews": "us", "note": f"certbot lineage: {printable(lineage, 100)}"}
            yield ImportRow(where, client=client, domain=name, domain_fields=fields)
