"""Check the served leaves against the revocation lists of their CAs.

A failed fetch erases nothing. A stored list counts until its nextUpdate, and ``revoked`` stays
revoked. ``good`` becomes unknown only if no valid list was available for longer than ``GRACE``.
One list is parsed at a time, to bound the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from certmgr.net.downloads import Download
from certmgr.revocation.fetch import CrlFetcher
from certmgr.x509 import crl as crls
from certmgr.x509.crl import Crl, RevocationStatus
from inventory.certificates import MAX_CRL_URLS, Certificate, issued_by, parse
from inventory.db.database import Database, to_epoch
from inventory.records import CrlRecord, RevocationRecord
from inventory.store import certificates
from inventory.store import revocation as store

GRACE = timedelta(days=2)
SHORTEST, LONGEST = timedelta(hours=1), timedelta(hours=24)
CHUNK_SIZE = 500
ISSUER_SAMPLE = 20  # leaves per list whose issuers are tried as its signer


@dataclass(slots=True)
class CrlSummary:
    """The result of one pass over the lists.

    Attributes:
        leaves: The leaves that were due.
        lists: The lists that these leaves name.
        fetched: The lists that were fetched, with or without success.
        problems: URL -> why the list failed.
        revoked: The leaves that are revoked.
        unknown: The leaves whose status could not be determined.
    """

    leaves: int = 0
    lists: int = 0
    fetched: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    revoked: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A served leaf, with the URLs of its lists."""

    sha256: str
    serial: int
    urls: tuple[str, ...]


@dataclass(slots=True)
class _Source:
    """A list that is valid now and was signed by ``signer``; without one, ``problem`` is why."""

    url: str
    problem: str = ""
    crl: Crl | None = None
    signer: Certificate | None = None
    fetched_at: int = 0
    next_at: int = 0


def next_check(crl: Crl, now: datetime) -> datetime:
    """Return when to fetch a list again.

    That is half of the way to its nextUpdate, but at least an hour and at most a day.
    """
    assert crl.next_update is not None
    return now + min(max((crl.next_update - now) / 2, SHORTEST), LONGEST)


def retry_at(failures: int, now: datetime) -> datetime:
    """Return when to retry after a failure: after 1, 2, 4 ... hours, at most a day.

    ``failures``: consecutive failures, including this one.
    """
    return now + min(SHORTEST * (1 << min(failures - 1, 10)), LONGEST)


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
        self._anchors = anchors
        self._issuers: dict[bytes, list[Certificate]] = {}
        self._at = to_epoch(now)

    def run(self, client_id: int | None) -> CrlSummary:
        """Check the due leaves of one client (or of all), and store their status."""
        with self.database.read() as conn:
            hashes = store.due_leaves(conn, self._at, client_id, every=self.every)
        # The leaves of the whole inventory share few lists, so each list is parsed once.
        waiting = self._leaves(hashes)
        self.summary.leaves = len(waiting)
        unknown: dict[str, tuple[_Source, RevocationStatus]] = {}
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
                self._unknown_row(sha, source, status, before.get(sha))
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

    # -- lists

    def _is_due(self, state: CrlRecord | None) -> bool:
        return self.every or state is None or state.next_at <= self._at

    def _check_lists(
        self,
        groups: Mapping[str, list[_Leaf]],
        unknown: dict[str, tuple[_Source, RevocationStatus]],
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
        unknown: dict[str, tuple[_Source, RevocationStatus]],
    ) -> list[_Leaf]:
        """Check leaves against one list, and return those of unknown status.

        ``download`` None: the list is not due, and the stored one is used.
        """
        certificates = {
            c.sha256: c for c in self._read([leaf.sha256 for leaf in leaves[:CHUNK_SIZE]])
        }
        sample = list(certificates.values())
        source = (
            self._fetched(url, sample, state, download)
            if download is not None
            else self._stored(url, sample, state)
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
                if status.status == "unknown":
                    remaining.append(leaf)
                    unknown[leaf.sha256] = (source, status)
                else:
                    # An earlier URL may have failed for this leaf.
                    unknown.pop(leaf.sha256, None)
                    determined.append((leaf, status))
            self._write(source, determined)
        return remaining

    def _status(
        self, source: _Source, certificate: Certificate, leaf: _Leaf, entries: Mapping[int, Any]
    ) -> RevocationStatus:
        if source.crl is None or source.signer is None:
            return RevocationStatus("unknown", detail=source.problem)
        # Serial numbers are unique per issuer only (RFC 5280 4.1.2.2), so a list of another issuer
        # must not decide about this certificate.
        if not issued_by(certificate, source.signer):
            return RevocationStatus(
                "unknown", detail="the list was not signed by the issuer of the certificate"
            )
        if reason := crls.out_of_scope(source.crl, certificate.crl_urls, is_ca=certificate.is_ca):
            return RevocationStatus("unknown", detail=reason)
        return crls.status_of(source.crl, leaf.serial, entries)

    def _fetched(
        self, url: str, leaves: Sequence[Certificate], state: CrlRecord | None, download: Download
    ) -> _Source:
        """Store the fetched list and return it if it is valid; else return the stored one."""
        self.summary.fetched += 1
        source = (
            self._validated(url, leaves, download.body)
            if not download.problem
            else _Source(url, download.problem)
        )
        stored_update = state.this_update if state is not None and state.digest else None
        # An attacker on the way could replay an older list that lacks a revocation.
        if (
            source.crl is not None
            and stored_update is not None
            and to_epoch(source.crl.this_update) < stored_update
        ):
            source = _Source(url, "it is older than the stored list")
        if source.crl is not None:
            source.fetched_at, source.next_at = self._at, to_epoch(next_check(source.crl, self.now))
            assert source.crl.next_update is not None
            # The list is stored before any status that depends on it.
            with self.database.write(self.now) as tx:
                store.keep_list(
                    tx,
                    url,
                    {
                        "digest": source.crl.digest,
                        "body": download.body,
                        "this_update": to_epoch(source.crl.this_update),
                        "next_update": to_epoch(source.crl.next_update),
                        "next_at": source.next_at,
                    },
                )
            return source
        self.summary.problems[url] = source.problem
        failures = (state.failures if state is not None else 0) + 1
        next_at = to_epoch(retry_at(failures, self.now))
        with self.database.write(self.now) as tx:
            store.list_failed(tx, url, source.problem, failures, next_at)
        # The list that was fetched before still counts until its nextUpdate.
        stored = self._stored(url, leaves, state)
        stored.next_at = next_at
        if stored.crl is None:
            stored.problem = source.problem
        return stored

    def _stored(self, url: str, leaves: Sequence[Certificate], state: CrlRecord | None) -> _Source:
        assert state is not None or url in self.summary.problems
        with self.database.read() as conn:
            body = store.body_of(conn, url) if state is not None and state.digest else None
        problem = (state.error if state is not None else None) or "no list is stored"
        source = self._validated(url, leaves, body) if body else _Source(url, problem)
        # A status is as old as the list that it comes from.
        source.fetched_at = state.fetched_at or 0 if state is not None else 0
        source.next_at = state.next_at if state is not None else self._at
        if source.crl is None and state is not None and state.error:
            source.problem = state.error
        return source

    def _validated(self, url: str, leaves: Sequence[Certificate], body: bytes) -> _Source:
        """Return the list if it is valid for at least one of the leaves; else the problem."""
        crl = crls.read(body)
        if isinstance(crl, str):
            return _Source(url, crl)
        if reason := crls.unusable_reason(crl, self.now):
            return _Source(url, reason)
        issuers = {
            i.sha256: i
            for leaf in leaves[:ISSUER_SAMPLE]
            if (i := self._issuer_of(leaf)) is not None
        }.values()
        if not issuers:
            return _Source(
                url,
                "the certificate of the issuer is not stored, so the signature cannot be verified",
            )
        named = [i for i in issuers if i.subject_der == crl.issuer_der]
        if not named:
            return _Source(url, "it is the list of another issuer")
        # Two issuers with the same name may have different keys.
        signer = next((i for i in named if crls.signed_by(crl, i)), None)
        if signer is None:
            return _Source(url, "its signature is not that of the issuer")
        # CAs split their lists; a list that covers none of these leaves is of no use for them.
        scopes = [crls.out_of_scope(crl, leaf.crl_urls, is_ca=leaf.is_ca) for leaf in leaves]
        if all(scopes):
            return _Source(url, scopes[0])
        return _Source(url, "", crl, signer)

    def _issuer_of(self, leaf: Certificate) -> Certificate | None:
        """Return a certificate whose key verifies the leaf, or None.

        Candidates are the certificates that were sent with it, CA certificates that any scan
        observed, and trust anchors.
        """
        # One issuer signs many leaves, so found issuers are kept for the pass.
        known = self._issuers.setdefault(leaf.issuer_der, [])
        if (issuer := next((c for c in known if issued_by(leaf, c)), None)) is not None:
            return issuer
        with self.database.read() as conn:
            observed = [
                *store.sent_with(conn, leaf.sha256),
                *certificates.issuers_named(conn, leaf.issuer),
            ]
        candidates = (*map(parse, observed), *self._anchors.get(leaf.issuer_der, ()))
        issuer = next((c for c in candidates if issued_by(leaf, c)), None)
        if issuer is not None:
            known.append(issuer)
        return issuer

    # -- storing

    def _write(self, source: _Source, determined: Sequence[tuple[_Leaf, RevocationStatus]]) -> None:
        if not determined:
            return
        with self.database.write(self.now) as tx:
            before = store.statuses(tx.conn, [leaf.sha256 for leaf, _ in determined])
            rows = [
                self._determined_row(leaf.sha256, source, status, before.get(leaf.sha256))
                for leaf, status in determined
            ]
            store.write_statuses(tx, rows)
        self.summary.revoked += sum(r["status"] == "revoked" for r in rows)

    @staticmethod
    def _determined_row(
        sha256: str, source: _Source, status: RevocationStatus, before: RevocationRecord | None
    ) -> dict[str, Any]:
        """Return the row of a leaf whose status is determined.

        A revoked certificate stays revoked, unless it was only on hold (RFC 5280 5.3.1). CAs may
        remove a certificate from their list after it has expired (RFC 5280 3.3).
        """
        if (
            before is not None
            and before.status == "revoked"
            and status.status == "good"
            and before.reason != "certificateHold"
        ):
            return asdict(before) | {
                "next_at": source.next_at,
                "detail": "no longer on the list",
            }
        return {
            "sha256": sha256,
            "status": status.status,
            "reason": status.reason or None,
            "source": source.url,
            "detail": None,
            "revoked_at": to_epoch(status.revoked_at) if status.revoked_at else None,
            "checked_at": source.fetched_at,
            "next_at": source.next_at,
        }

    def _unknown_row(
        self,
        sha256: str,
        source: _Source,
        status: RevocationStatus,
        before: RevocationRecord | None,
    ) -> dict[str, Any]:
        """Return the row of a leaf whose status could not be determined now.

        The last status stays, with the time when it was determined. ``good`` becomes ``unknown``
        if that is longer ago than ``GRACE``.
        """
        # A leaf is not checked again within an hour, even if its list is due earlier.
        next_at = max(source.next_at, self._at + int(SHORTEST.total_seconds()))
        if before is None:
            return {
                "sha256": sha256,
                "status": "unknown",
                "reason": None,
                "revoked_at": None,
                "source": source.url,
                "detail": status.detail,
                "checked_at": self._at,
                "next_at": next_at,
            }
        changed = asdict(before) | {"detail": status.detail, "next_at": next_at}
        if before.status == "good" and self._at - before.checked_at > GRACE.total_seconds():
            changed |= {"status": "unknown", "source": source.url}
        return changed
