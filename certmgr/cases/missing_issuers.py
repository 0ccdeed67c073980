"""Issuers that the vendor left out of an upload, fetched from the URLs in the certificates.

This is the only part of the room that opens connections to hosts which a certificate names.
"""

from __future__ import annotations

import asyncio
import logging

from certmgr.cases.service import CaseService
from certmgr.inspection.issuers import IssuerFetcher
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.scan.resolve import Resolver
from certmgr.x509.upload import VendorUpload
from inventory.certificates import Certificate

_log = logging.getLogger(__name__)


def fetch_missing_issuers(service: CaseService, upload: VendorUpload) -> list[Certificate]:
    """Fetch the missing issuers of an upload from their AIA URLs (RFC 5280, 4.2.2.1).

    Nothing is fetched unless ``[trust] fetch_issuers`` allows it.
    """
    # The URLs come from the certificate, so that an administrator has to allow these requests.
    if not service.context.settings.trust.fetch_issuers:
        return []
    subjects = {c.subject_key for c in upload.certificates}
    # A self-issued certificate has no further issuer.
    waiting = [
        c
        for c in upload.certificates
        if c.parsed is not None and not c.self_issued and c.issuer_key not in subjects
    ]
    if not waiting:
        return []
    _log.info("fetching the issuers of %d certificates of an upload", len(waiting))
    # An upload has one leaf per key type and their intermediates. More would be a way to make
    # certmgr send many requests.
    return asyncio.run(_fetch(service, waiting[:5]))


async def _fetch(service: CaseService, waiting: list[Certificate]) -> list[Certificate]:
    """Fetch the issuers of these certificates, and then the issuers of those."""
    setup = setup_for(
        service.context.settings, ScanOptions(), guarded=True, clock=service.context.clock
    )
    resolver = Resolver(servers=setup.resolvers, timeout=setup.dns_timeout, allowed=setup.allowed)
    fetcher, fetched = IssuerFetcher(resolver, setup.allowed), []
    try:
        # Three levels bound the requests that a hostile certificate can cause.
        for _ in range(3):
            new = [c for certificate in waiting for c in await fetcher.issuers(certificate)]
            waiting = [c for c in new if c.is_ca and not c.self_issued and c not in fetched]
            fetched += new
    finally:
        await resolver.close()
    return fetched
