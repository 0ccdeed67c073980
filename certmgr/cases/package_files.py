"""From a case to its package: certificates from the database, keys from their files."""

from __future__ import annotations

from certmgr.cases.package import PackagePart, build
from certmgr.cases.service import CaseService
from certmgr.x509.csr import spki
from certmgr.x509.key_store import local_path
from inventory.certificates import Certificate, parse
from inventory.errors import CertmgrError, Conflict
from inventory.store import cases


def pack(desk: CaseService, reference: str, password: str) -> tuple[bytes, list[Certificate]]:
    """(the zip, its leaves). Raises where there is no certificate yet, or a key does not fit."""
    row = desk.read(reference)
    with desk.database.read() as conn:
        issued = [
            i for i in cases.issuances(conn, [row["id"]]).get(row["id"], []) if i["der"] is not None
        ]
        chains = [(i, cases.chain_of(conn, i["chain"].split())) for i in issued]
    if not chains:
        raise Conflict(
            f"The case {row['reference']} has no certificate yet",
            "",
            f"certmgr case receive {row['reference']} FILE",
        )
    parts: dict[str, PackagePart] = {}
    for issuance, chain in chains:
        leaf = parse(bytes(issuance["der"]))
        key = None
        if issuance["key_reference"]:
            key = desk.keys.load(local_path(issuance["key_reference"]))
            if leaf.parsed is None or spki(key.public_key()) != spki(leaf.parsed.public_key()):
                raise CertmgrError(
                    f"The key {issuance['key_reference']} does not belong to the certificate",
                    "the file was changed",
                    "Restore it from the backup of the keys.",
                )
        parts[leaf.key_type] = PackagePart(
            issuance["key_type"], (leaf, *[parse(d) for d in chain]), key
        )
    chosen = list(parts.values())
    return build(row["reference"], row["names"], chosen, password, desk.now), [
        p.chain[0] for p in chosen
    ]
