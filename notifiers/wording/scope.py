"""What a client may read of a finding: a certificate or server that several share names the others,
and they are none of this one's business. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from inventory.names import as_ip, registered_domain
from inventory.vocabulary import Finding
from notifiers.wording.values import NOT_NAMED, NOT_YOURS

# Evidence that names whose certificate it is, or who issued it.
_ISSUERS = ("missing", "root", "intermediate", "issuer", "certificate")
# Beside these the certificate may be anybody's.
STRANGE = frozenset({"name-mismatch", "default-certificate", "self-signed", "untrusted-root"})


def for_client(finding: Finding, own: Iterable[str], *, strange: bool = False) -> Finding:
    """``own``: names of the client.

    Of the names in the evidence those stay that lie in one of the client's registered domains.
    ``strange``: the served certificate may be another's, so that its issuer is not named either.
    """
    evidence = {k: v for k, v in finding.evidence.items() if k not in ("subject", "more")}
    if "names" in evidence:
        evidence["names"] = _mine(evidence["names"], set(own)) or [NOT_YOURS]
    if strange or finding.code in STRANGE:
        evidence |= {k: NOT_NAMED for k in _ISSUERS if k in evidence}
    return replace(finding, evidence=evidence)


def _mine(names: Iterable[Any], hosts: set[str]) -> list[str]:
    registered = {registered_domain(n) for n in hosts if as_ip(n) is None}

    def mine(name: str) -> bool:
        text = name.removeprefix("*.")
        return text in hosts or (
            as_ip(text) is None and "." in text and registered_domain(text) in registered
        )

    return [n for n in map(str, names) if mine(n)]
