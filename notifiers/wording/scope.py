"""Remove the data of other clients from findings. Pure.

A shared certificate or server names other clients, which must not be shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def may_be_foreign(codes: Iterable[str]) -> bool:
    """Return whether the certificate of an endpoint may belong to another client.

    Args:
        codes: All codes that were found at the endpoint. An accepted finding counts too, because
            the acceptance does not change whose certificate is served.
    """
    return not FOREIGN_CERTIFICATE.isdisjoint(codes)


def for_client(
    finding: Finding,
    client_names: Iterable[str],
    *,
    codes: Iterable[str],
    owners: Mapping[str, int] | None = None,
    client_id: int | None = None,
) -> Finding:
    """Return the finding with only the data that the client may see.

    Names in the evidence are kept if they lie in a registered domain of the client, and belong to
    no other client: clients of a platform share its registered domain.

    Args:
        client_names: The names of the client.
        codes: All codes that were found at the endpoint, see :func:`may_be_foreign`. If the served
            certificate may belong to another client, its issuer is removed too.
        owners: The owners of names in the inventory, by name.
        client_id: The client, to compare with ``owners``.
    """
    # The subject names the owner, and "more" counts names that were cut, which may be of others.
    evidence = {k: v for k, v in finding.evidence.items() if k not in ("subject", "more")}
    if "names" in evidence:
        names = [n for n in evidence["names"] if (owners or {}).get(str(n), client_id) == client_id]
        evidence["names"] = _names_of_client(names, set(client_names)) or [NOT_YOURS]
    if may_be_foreign((finding.code, *codes)):
        evidence |= {k: NOT_NAMED for k in _ISSUERS if k in evidence}
    return replace(finding, evidence=evidence)


def names_in(findings: Iterable[Finding]) -> set[str]:
    """Return the names of certificates in the evidence of findings."""
    return {str(n) for f in findings for n in f.evidence.get("names", ())}


def _names_of_client(names: Iterable[Any], hosts: set[str]) -> list[str]:
    registered = {registered_domain(n) for n in hosts if as_ip(n) is None}

    def belongs_to_client(name: str) -> bool:
        text = name.removeprefix("*.")
        return text in hosts or (
            # An address has no registered domain: it belongs to the client only if it is a host of
            # theirs.
            as_ip(text) is None and "." in text and registered_domain(text) in registered
        )

    return [n for n in map(str, names) if belongs_to_client(n)]
