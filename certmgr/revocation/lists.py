"""Check the served leaves against the revocation lists of their CAs.

A failed fetch erases nothing. A stored list counts until its nextUpdate, and ``revoked`` stays
revoked. ``good`` becomes unknown only if no valid list was available for longer than ``GRACE``.
One list is parsed at a time, to bound the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certmgr.net.downloads import Download
from certmgr.revocation.fetch import CrlFetcher
from certmgr.revocation.list_source import CrlSummary, ListSource, ListSources
from certmgr.revocation.status_rows import determined_row, unknown_row
from certmgr.x509 import crl as crls
from certmgr.x509.crl import RevocationStatus
from inventory.certificate_extensions import MAX_CRL_URLS
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, parse
from inventory.db.database import Database, to_epoch
from inventory.records import CrlRecord
from inventory.store import certificates
from inventory.store import revocation as store
from inventory.vocabulary import RevocationState

CHUNK_SIZE = 500


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A served leaf, with the URLs of its lists."""

    sha256: str
    serial: int
    urls: tuple[str, ...]


class CrlCheck:
    """One pass over the lists.

    Args:
        database: The inventory.
        fetcher: Fetches the lists.
        now: The current time.
        anchors: Trust anchors by the DER of their subject, since an anchor may issue leaves.
        every: Whether to fetch also lists that are not due.
        progress: Called with (fetched, planned) after each list.
    """

    def __init__(
        self,
        database: Database,
        fetcher: CrlFetcher,
        now: datetime,
        *,
        anchors: Mapping[bytes, Sequence[Certificate]],
        every: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.database, self.fetcher, self.now, self.every = database, fetcher, now, every
        self.progress = progress
        self.summary = CrlSummary()
        self._sources = ListSources(database, now, anchors, self.summary)
        self._at = to_epoch(now)

    def run(self, client_id: int | None) -> CrlSummary:
        """Check the due leaves of one client (or of all), and store their status."""
        with self.database.read() as conn:
            hashes = store.due_leaves(conn, self._at, client_id, every=self.every)
        # The leaves of the whole inventory share few lists, so each list is parsed once.
        waiting = self._leaves(hashes)
        self.summary.leaves = len(waiting)
        unknown: dict[str, tuple[ListSource, RevocationStatus]] = {}
        # A leaf may name several URLs of the same list. A further URL is used only for the leaves
        # whose status is still unknown.
        for position in range(MAX_CRL_URLS):
            groups: dict[str, list[_Leaf]] = {}
            for leaf in waiting:
                if position < len(leaf.urls):
                    groups.setdefault(leaf.urls[position], []).append(leaf)
            if not groups:
                break
            waiting = self._check_lists(groups, unknown)
        # A leaf is unknown only if none of its lists determined its status.
        with self.database.write(self.now) as tx:
            before = store.statuses(tx.conn, list(unknown))
            rows = [
                unknown_row(sha, source, status, before.get(sha), self._at)
                for sha, (source, status) in unknown.items()
            ]
            store.write_statuses(tx, rows)
            # A list that was not due for a month belongs to certificates that are gone.
            store.forget_unused(tx, self._at - int(timedelta(days=30).total_seconds()))
        self.summary.unknown = len(unknown)
        return self.summary

    def plan(self, client_id: int | None) -> dict[str, int]:
        """Return the lists that a run would fetch now, without fetching.

        Returns:
            URL -> the number of leaves that name it.
        """
        with self.database.read() as conn:
            leaves = self._leaves(store.due_leaves(conn, self._at, client_id, every=self.every))
            counts: dict[str, int] = {}
            # Further URLs are used only if the first one fails, which is not known yet.
            for leaf in leaves:
                counts[leaf.urls[0]] = counts.get(leaf.urls[0], 0) + 1
            states = store.lists(conn, list(counts))
        return {u: n for u, n in counts.items() if self._is_due(states.get(u))}

    def _leaves(self, hashes: Sequence[str]) -> list[_Leaf]:
        """Return the leaves that name a list."""
        leaves: list[_Leaf] = []
        for start in range(0, len(hashes), CHUNK_SIZE):
            for certificate in self._read(hashes[start : start + CHUNK_SIZE]):
                # A certificate without a list (mostly one that lives a few days) is no finding:
                # there is nothing to check.
                if certificate.crl_urls and certificate.parsed is not None and certificate.serial:
                    leaves.append(
                        _Leaf(certificate.sha256, int(certificate.serial, 16), certificate.crl_urls)
                    )
        return leaves

    def _read(self, hashes: Sequence[str]) -> list[Certificate]:
        with self.database.read() as conn:
            return [parse(der) for der in certificates.ders(conn, hashes).values()]

    def _is_due(self, state: CrlRecord | None) -> bool:
        return self.every or state is None or state.next_at <= self._at

    def _check_lists(
        self,
        groups: Mapping[str, list[_Leaf]],
        unknown: dict[str, tuple[ListSource, RevocationStatus]],
    ) -> list[_Leaf]:
        """Check the leaves against one URL each.

        Args:
            groups: URL -> its leaves.
            unknown: Collects the leaves of unknown status.

        Returns:
            The leaves whose status is still unknown.
        """
        with self.database.read() as conn:
            states = store.lists(conn, list(groups))
        due = [u for u in groups if self._is_due(states.get(u))]
        self.summary.lists += len(groups)
        remaining: list[_Leaf] = []
        # New leaves are checked against a stored list that is not due yet.
        for url in [u for u in groups if u not in set(due)]:
            remaining += self._judge(url, groups[url], states[url], None, unknown)
        for count, (url, download) in enumerate(self.fetcher.each(due), 1):
            remaining += self._judge(url, groups[url], states.get(url), download, unknown)
            if self.progress is not None:
                self.progress(count, len(due))
        return remaining

    def _judge(
        self,
        url: str,
        leaves: Sequence[_Leaf],
        state: CrlRecord | None,
        download: Download | None,
        unknown: dict[str, tuple[ListSource, RevocationStatus]],
    ) -> list[_Leaf]:
        """Check leaves against one list, and return those of unknown status.

        ``download`` None: the list is not due, and the stored one is used.
        """
        certificates = {
            c.sha256: c for c in self._read([leaf.sha256 for leaf in leaves[:CHUNK_SIZE]])
        }
        sample = list(certificates.values())
        source = (
            self._sources.fetched(url, sample, state, download)
            if download is not None
            else self._sources.stored(url, sample, state)
        )
        entries: Mapping[int, Any] = {}
        if source.crl is not None:
            result = crls.find_entries(source.crl, [leaf.serial for leaf in leaves])
            # The entries are parsed only now; a broken entry makes the whole list unusable.
            if isinstance(result, str):
                source.crl, source.problem = None, result
            else:
                entries = result
        remaining: list[_Leaf] = []
        for start in range(0, len(leaves), CHUNK_SIZE):
            part = leaves[start : start + CHUNK_SIZE]
            if start:
                certificates = {c.sha256: c for c in self._read([leaf.sha256 for leaf in part])}
            determined = []
            for leaf in part:
                status = self._status(source, certificates[leaf.sha256], leaf, entries)
                if status.status is RevocationState.UNKNOWN:
                    remaining.append(leaf)
                    unknown[leaf.sha256] = (source, status)
                else:
                    # An earlier URL may have failed for this leaf.
                    unknown.pop(leaf.sha256, None)
                    determined.append((leaf, status))
            self._write(source, determined)
        return remaining

    def _status(
        self, source: ListSource, certificate: Certificate, leaf: _Leaf, entries: Mapping[int, Any]
    ) -> RevocationStatus:
        if source.crl is None or source.signer is None:
            return RevocationStatus(RevocationState.UNKNOWN, detail=source.problem)
        # Serial numbers are unique per issuer only (RFC 5280 4.1.2.2), so a list of another issuer
        # must not decide about this certificate.
        if not issued_by(certificate, source.signer):
            return RevocationStatus(
                RevocationState.UNKNOWN,
                detail="the list was not signed by the issuer of the certificate",
            )
        if reason := crls.out_of_scope(source.crl, certificate.crl_urls, is_ca=certificate.is_ca):
            return RevocationStatus(RevocationState.UNKNOWN, detail=reason)
        return crls.status_of(source.crl, leaf.serial, entries)

    def _write(
        self, source: ListSource, determined: Sequence[tuple[_Leaf, RevocationStatus]]
    ) -> None:
        if not determined:
            return
        with self.database.write(self.now) as tx:
            before = store.statuses(tx.conn, [leaf.sha256 for leaf, _ in determined])
            rows = [
                determined_row(leaf.sha256, source, status, before.get(leaf.sha256))
                for leaf, status in determined
            ]
            store.write_statuses(tx, rows)
        self.summary.revoked += sum(r["status"] == RevocationState.REVOKED for r in rows)
