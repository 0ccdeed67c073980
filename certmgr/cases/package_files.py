"""Collects the certificates and keys of a case for its installation package."""

from __future__ import annotations

from certmgr.cases.package import PackagePart, build_package
from certmgr.cases.service import CaseService
from certmgr.x509.csr import spki
from certmgr.x509.key_store import local_path
from inventory.certificates import Certificate, parse
from inventory.errors import CertmgrError, Conflict
from inventory.store import certificates, issuances


def build_case_package(
    service: CaseService, reference: str, password: str
) -> tuple[bytes, list[Certificate]]:
    """Build the installation package of a case.

    Args:
        service: The service for cases.
        reference: The reference of the case.
        password: The password of the PKCS#12 file; empty for none.

    Returns:
        The zip archive and the leaf certificates in it.

    Raises:
        Conflict: The case has no certificate yet.
        CertmgrError: A key cannot be read, or does not belong to its certificate.
    """
    row = service.read(reference)
    with service.context.read() as conn:
        # A package may be built before all key types have arrived. The case cannot be installed
        # before that.
        issued = [i for i in issuances.of_case(conn, row.id) if i.der is not None]
        chains = [(i, certificates.ders_in_order(conn, i.chain)) for i in issued]
    if not chains:
        raise Conflict(
            f"The case {row.reference} has no certificate yet",
            "",
            f"certmgr case receive {row.reference} FILE",
        )
    parts: dict[str, PackagePart] = {}
    for issuance, chain in chains:
        assert issuance.der is not None
        leaf = parse(issuance.der)
        key = None
        if issuance.key_reference:
            key = service.keys.load(local_path(issuance.key_reference))
            # A wrong key would only be noticed by the server, in the middle of the installation.
            if leaf.parsed is None or spki(key.public_key()) != spki(leaf.parsed.public_key()):
                raise CertmgrError(
                    f"The key {issuance.key_reference} does not belong to the certificate",
                    "the file was changed",
                    "Restore it from the backup of the keys.",
                )
        # The latest certificate of a key type counts, as in expected_certificates.
        parts[leaf.key_type] = PackagePart(
            issuance.key_type, (leaf, *[parse(d) for d in chain]), key
        )
    package_parts = list(parts.values())
    return build_package(row.reference, row.names, package_parts, password, service.now), [
        p.chain[0] for p in package_parts
    ]
