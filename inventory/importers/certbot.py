"""certbot's directory: a lineage per file of renewal/, with the names of its live certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inventory.certificates import from_pem
from inventory.errors import UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.hosts import skip_reason
from inventory.text import printable


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
    for file in sorted(renewal.glob("*.conf")):
        lineage = file.stem
        certificate = path / "live" / lineage / "cert.pem"
        where = f"{file}:1"
        try:
            # The first certificate of cert.pem is the leaf.
            leaf = from_pem(certificate.read_bytes()[:1_000_000])[0]
        except (OSError, ValueError) as error:
            yield ImportProblem(
                where,
                f"the certificate of the lineage {printable(lineage, 80)} cannot be read: {error}",
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
