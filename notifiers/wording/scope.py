"""What a client may read of a finding: a certificate or server that several share names the others, and they are none of this one's business. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from inventory.model import Finding
from inventory.names import as_ip, registered_domain
from notifiers.wording.values import NOT_YOURS


def for_client(finding: Finding, own: Iterable[str]) -> Finding:
    """``own``: names of the client. Of the names in the evidence those stay that lie in one of the client's registered domains."""
    if "names" not in finding.evidence and "subject" not in finding.evidence:
        return finding
    hosts = set(own)
    registered = {registered_domain(n) for n in hosts if as_ip(n) is None}

    def mine(name: Any) -> bool:
        text = str(name).removeprefix("*.")
        return text in hosts or (as_ip(text) is None and "." in text and registered_domain(text) in registered)

    evidence = {k: v for k, v in finding.evidence.items() if k not in ("names", "subject", "more")}
    if "names" in finding.evidence:
        evidence["names"] = [n for n in finding.evidence["names"] if mine(n)] or [NOT_YOURS]
    return replace(finding, evidence=evidence)
