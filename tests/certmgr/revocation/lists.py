"""Revocation lists of a real CA, and nginx that serves them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.demo.authority import Authority, Issued
from tests.clock import clock
from tests.servers.ports import free_port, wait_for
from tests.servers.real import program

DAY = timedelta(days=1)


def now() -> datetime:
    return clock().replace(microsecond=0)


def points(*urls: str, **given: Any) -> tuple[x509.ExtensionType, bool]:
    """CRL distribution points for ``Authority.issue(extensions=...)``: one point with each URL as an alternative name."""
    names = [x509.UniformResourceIdentifier(u) for u in urls]
    point = x509.DistributionPoint(names, None, given.get("reasons"), given.get("crl_issuer"))
    return x509.CRLDistributionPoints([point]), False


def shard(*urls: str, **given: Any) -> tuple[x509.ExtensionType, bool]:
    """IssuingDistributionPoint, critical as RFC 5280 5.2.5 has it."""
    values: dict[str, Any] = {
        "full_name": [x509.UniformResourceIdentifier(u) for u in urls] or None, "relative_name": None, "only_contains_user_certs": False,
        "only_contains_ca_certs": False, "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**{**values, **given}), True


def make_list(
    authority: Authority, revoked: Sequence[Issued | int] = (), *, at: datetime | None = None, days: float = 7,
    reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise, extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    entry_extensions: Sequence[tuple[x509.ExtensionType, bool]] = (), key: Any = None, number: int = 1,
) -> bytes:  # fmt: skip
    """DER. ``days`` counts from ``at`` to nextUpdate. ``key``: another than the authority's, for a wrong signature."""
    begin = at or now() - timedelta(hours=1)
    builder = (
        x509.CertificateRevocationListBuilder().issuer_name(authority.subject).last_update(begin).next_update(begin + timedelta(days=days))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )  # fmt: skip
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    for one in revoked:
        serial = one if isinstance(one, int) else one.certificate.serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin - DAY)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        for extension, critical in entry_extensions:
            entry = entry.add_extension(extension, critical=critical)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key or authority.key, hashes.SHA256()).public_bytes(Encoding.DER)


@contextmanager
def files(folder: Path, contents: Mapping[str, bytes] | None = None, extra: str = "") -> Iterator[tuple[int, Path]]:
    """nginx over plain HTTP: its port and the folder that it serves. ``extra``: further locations."""
    served = folder / "served"
    served.mkdir(parents=True, exist_ok=True)
    for name, content in (contents or {}).items():
        (served / name).write_bytes(content)
    port = free_port()
    temp = " ".join(f"{k}_temp_path {folder}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "files.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/files.pid; error_log {folder}/files.log; user root;\n"
        f"events {{ worker_connections 64; }}\nhttp {{ log_format host '$http_host $uri'; access_log {folder}/access.log host; {temp}\n"
        f"server {{ listen 127.0.0.1:{port}; root {served}; default_type application/pkix-crl; {extra} }}\n}}\n"
    )
    command = [program("nginx", "nginx-light"), "-e", str(folder / "files.log"), "-c", str(folder / "files.conf")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield port, served
    finally:
        process.terminate()
        process.wait(10)


def asked(folder: Path) -> list[str]:
    """The paths that nginx was asked for."""
    log = folder / "access.log"
    return [line.split()[1] for line in log.read_text().splitlines()] if log.exists() else []
