"""The names of the next certificate of a lineage. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from certmgr.x509.names import name_covers
from inventory.errors import CertmgrError
from inventory.names import display
from inventory.records import ListedLineage
from inventory.text import printable
from inventory.vocabulary import OnFailedName


class ApprovalRequired(CertmgrError):
    """Names are in quarantine, and no administrator has approved leaving them out."""


def names_to_request(row: ListedLineage, *, urgent: bool = False) -> list[str]:
    """Return the names of the next certificate.

    Pure.

    Args:
        row: The lineage, with ``names``.
        urgent: Whether the certificate expires soon.

    Raises:
        ApprovalRequired: A name would be left out without approval, no name is left, or the CSR
            cannot be used.
    """
    active = [n.name for n in row.names if n.state == "active"]
    quarantined = [n for n in row.names if n.state == "quarantined"]
    # An approval is for the names that were quarantined then. A further name needs another
    # approval.
    approved = set(row.shrink_ok)
    # The names of a CSR are fixed, so no name can be left out.
    if row.csr and quarantined:
        raise ApprovalRequired(
            f"The lineage '{row.name}' needs another CSR",
            "one of its names is quarantined, and the client's CSR contains all names",
            "Ask the client for a CSR without that name.",
        )
    # A new certificate for a compromised key would be revoked at once.
    if row.csr and row.sha256 is not None and row.sha256 in row.compromised:
        raise ApprovalRequired(
            f"The lineage '{row.name}' needs another CSR",
            "the key of the client's CSR is compromised",
            "Ask the client for a CSR with a new key.",
        )
    # A name is never dropped silently. Close to expiry the remaining names are renewed without
    # approval, because otherwise all of them would expire; staff were notified of the quarantine.
    if quarantined and not (
        urgent or row.shrink is OnFailedName.AUTO or {n.name for n in quarantined} <= approved
    ):
        reasons = "; ".join(
            f"{display(n.name)}: {printable(n.reason or '', 200)}" for n in quarantined[:5]
        )
        raise ApprovalRequired(
            f"The lineage '{row.name}' waits for approval",
            f"{len(quarantined)} of its names are quarantined ({reasons})",
            f"Run certmgr lineage approve {row.name} to leave them out until they recover.",
        )
    if not active:
        raise ApprovalRequired(
            f"The lineage '{row.name}' has no active name",
            "all its names are quarantined",
            f"See the reasons with certmgr lineage show {row.name}.",
        )
    return active


def redundancy(names: Iterable[str]) -> str:
    """Return in words which names a wildcard of the same certificate covers; empty if none.

    Pure. Let's Encrypt refuses such an order ("redundant with a wildcard domain in the same
    request"), and other CAs leave the name out.
    """
    wanted = sorted(set(names))
    pairs = [
        (name, wildcard)
        for wildcard in wanted
        if wildcard.startswith("*.")
        for name in wanted
        if name != wildcard and name_covers(wildcard, name)
    ]
    if not pairs:
        return ""
    listed = ", ".join(f"{display(n)} (by {display(w)})" for n, w in pairs[:10])
    return (
        f"redundant, and some CAs refuse the order because of it: {listed}. Leave out either the"
        " covered name or the wildcard"
    )


def default_name(names: list[str], key_type: str) -> str:
    """Return the name of a new lineage: its first name, with a suffix for an RSA key.

    Pure.
    """
    first = names[0].removeprefix("*.").replace(":", "-")
    return first if key_type.startswith("ec-") else f"{first}-rsa"
