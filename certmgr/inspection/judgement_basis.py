"""What a judgement depends on besides the evidence."""

from __future__ import annotations

from hashlib import blake2b

from certmgr.inspection.scan_job import ScanSetup
from certmgr.scan.code_version import code_version
from certmgr.x509.trust import TrustStore
from certmgr.x509.trust_data import digest as rules_digest

# The rooms that turn what a server sends into findings.
JUDGING = (
    "certmgr.checks",
    "certmgr.inspection",
    "certmgr.net",
    "certmgr.scan",
    "certmgr.x509",
    "inventory",
    "inventory.finding_codes",
    "inventory.protocols",
    "inventory.vocabulary",
    "notifiers.wording",
)


def judgement_basis(setup: ScanSetup, trust: TrustStore) -> str:
    """Return a digest of the settings that a judgement depends on, in addition to the evidence.

    With another trust store, other networks or another version of the checks, each endpoint is
    judged again.
    """
    basis = (
        code_version(*JUDGING),
        setup.store,
        setup.ca_files,
        sorted(trust.anchors),
        rules_digest(setup.rules.rules),
        setup.provider,
        sorted(setup.servers),
        setup.deep,
        setup.web and setup.web.port,
        sorted(setup.ignored),
    )
    return blake2b(repr(basis).encode(), digest_size=8).hexdigest()
