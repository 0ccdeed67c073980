"""Remove the data of other clients from findings. Pure.

A shared certificate or server names other clients, which must not be shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from inventory.names import as_ip, registered_domain
from inventory.vocabulary import Finding
from notifiers.wording.values import NOT_NAMED, NOT_YOURS

# Evidence that reveals the owner or the issuer of a certificate.
_ISSUERS = ("missing", "root", "intermediate", "issuer", "certificate")
# With these findings, the served certificate may belong to another client.
FOREIGN_CERTIFICATE = frozenset(
    {"name-mismatch", "default-certificate", "self-signed", "untrusted-root"}
)


def for_client(
    finding: Finding, client_names: Iterable[str], *, foreign_certificate: bool = False
) -> Finding:
    """Return the finding with only the data that the client may see.

    Names in the evidence are kept if they lie in a registered domain of the client.

    Args:
        client_names: The names of the client.
        foreign_certificate: The served certificate may belong to another client, so its issuer is
            removed too.
    """
    evidence = {k: v for k, v in finding.evidence.items() if k not in ("subject", "more")}
    if "names" in evidence:
        evidence["names"] = _names_of_client(evidence["names"], set(client_names)) or [NOT_YOURS]
    if foreign_certificate or finding.code in FOREIGN_CERTIFICATE:
        evidence |= {k: NOT_NAMED for k in _ISSUERS if k in evidence}
    return replace(finding, evidence=evidence)


def _names_of_client(names: Iterable[Any], hosts: set[str]) -> list[str]:
    registered = {registered_domain(n) for n in hosts if as_ip(n) is None}

    def belongs_to_client(name: str) -> bool:
        text = name.removeprefix("*.")
        return text in hosts or (
            as_ip(text) is None and "." in text and registered_domain(text) in registered
        )

    return [n for n in map(str, names) if belongs_to_client(n)]
