"""The lists of the CAs: which are due, what each says of the leaves that are served, and what is
kept when one fails.

A failed look erases nothing: a list that is held counts until its nextUpdate, ``revoked`` stays
revoked, ``good`` becomes unknown only when no list that holds was had for the time of ``GRACE``.
One list is parsed at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from certmgr.net.downloads import Download
from certmgr.revocation.fetch import CrlFetcher
from certmgr.x509 import crl as crls
from certmgr.x509.crl import Crl, RevocationStatus
from inventory.certificates import MAX_CRL_URLS, Certificate, issued_by, parse
from inventory.db.database import Database, to_epoch
from inventory.store import revocation as store
from inventory.store.records import Row

GRACE = timedelta(days=2)
SHORTEST, LONGEST = timedelta(hours=1), timedelta(hours=24)
CHUNK = 500
SAMPLE = 20  # leaves of a list whose issuers are looked for


@dataclass(slots=True)
class CrlSummary:
    """How it went.

    ``lists``: that certificates of ours name. ``problems``: URL -> why it failed.
    """

    leaves: int = 0
    lists: int = 0
    fetched: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    revoked: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class _Leaf:
    sha256: str
    serial: int
    urls: tuple[str, ...]


@dataclass(slots=True)
class _Source:
    """A list that may be relied on now, whose issuer is ``signer``; or why there is none in
    ``problem``.
    """

    url: str
    problem: str = ""
    crl: Crl | None = None
    signer: Certificate | None = None
    fetched_at: int = 0
    next_at: int = 0


def next_look(crl: Crl, now: datetime) -> datetime:
    """Half of the way to nextUpdate, at least an hour, at most a day."""
    assert crl.next_update is not None
    return now + min(max((crl.next_update - now) / 2, SHORTEST), LONGEST)


def backed_off(failures: int, now: datetime) -> datetime:
    """1, 2, 4 ... hours, at most a day. ``failures``: this one included."""
    return now + min(SHORTEST * (1 << min(failures - 1, 10)), LONGEST)


class CrlCheck:
    """One pass over the lists.

    ``anchors``: trust anchors, by the DER of their subject; an issuer may be one of them.
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
        self.done = CrlSummary()
        self._anchors = anchors
        self._issuers: dict[bytes, list[Certificate]] = {}
        self._at = to_epoch(now)

    def run(self, client_id: int | None) -> CrlSummary:
        with self.database.read() as conn:
            hashes = store.due_leaves(conn, self._at, client_id, every=self.every)
        waiting = self._leaves(hashes)
        self.done.leaves = len(waiting)
        unknown: dict[str, tuple[_Source, RevocationStatus]] = {}
        for position in range(MAX_CRL_URLS):
            groups: dict[str, list[_Leaf]] = {}
            for leaf in waiting:
                if position < len(leaf.urls):
                    groups.setdefault(leaf.urls[position], []).append(leaf)
            if not groups:
                break
            waiting = self._round(groups, unknown)
        with self.database.write(self.now) as tx:
            before = store.statuses(tx.conn, list(unknown))
            rows = [
                self._failed(sha, source, status, before.get(sha))
                for sha, (source, status) in unknown.items()
            ]
            store.write_statuses(tx, rows)
            store.forget_unused(tx, self._at - int(timedelta(days=30).total_seconds()))
        self.done.unknown = len(unknown)
        return self.done

    def plan(self, client_id: int | None) -> dict[str, int]:
        """URL -> how many of our leaves, of the lists that a run would ask now.

        Nothing is asked.
        """
        with self.database.read() as conn:
            leaves = self._leaves(store.due_leaves(conn, self._at, client_id, every=self.every))
            counts: dict[str, int] = {}
            for leaf in leaves:
                counts[leaf.urls[0]] = counts.get(leaf.urls[0], 0) + 1
            states = store.lists(conn, list(counts))
        return {u: n for u, n in counts.items() if self._is_due(states.get(u))}

    def _leaves(self, hashes: Sequence[str]) -> list[_Leaf]:
        """Those that name a list.

        A certificate without one (of a few days, mostly) leaves nothing to ask.
        """
        found: list[_Leaf] = []
        for start in range(0, len(hashes), CHUNK):
            for certificate in self._read(hashes[start : start + CHUNK]):
                if certificate.crl_urls and certificate.parsed is not None and certificate.serial:
                    found.append(
                        _Leaf(certificate.sha256, int(certificate.serial, 16), certificate.crl_urls)
                    )
        return found

    def _read(self, hashes: Sequence[str]) -> list[Certificate]:
        with self.database.read() as conn:
            return [parse(der) for der in store.ders(conn, hashes).values()]

    # -- lists

    def _is_due(self, state: Row | None) -> bool:
        return self.every or state is None or state["next_at"] <= self._at

    def _round(
        self,
        groups: Mapping[str, list[_Leaf]],
        unknown: dict[str, tuple[_Source, RevocationStatus]],
    ) -> list[_Leaf]:
        """Each list of the groups; the leaves of which it told nothing."""
        with self.database.read() as conn:
            states = store.lists(conn, list(groups))
        due = [u for u in groups if self._is_due(states.get(u))]
        self.done.lists += len(groups)
        left: list[_Leaf] = []
        for url in [u for u in groups if u not in set(due)]:
            left += self._judge(url, groups[url], states[url], None, unknown)
        for count, (url, got) in enumerate(self.fetcher.each(due), 1):
            left += self._judge(url, groups[url], states.get(url), got, unknown)
            if self.progress is not None:
                self.progress(count, len(due))
        return left

    def _judge(
        self,
        url: str,
        leaves: Sequence[_Leaf],
        state: Row | None,
        got: Download | None,
        unknown: dict[str, tuple[_Source, RevocationStatus]],
    ) -> list[_Leaf]:
        certificates = {c.sha256: c for c in self._read([one.sha256 for one in leaves[:CHUNK]])}
        sample = list(certificates.values())
        source = (
            self._fetched(url, sample, state, got)
            if got is not None
            else self._held(url, sample, state)
        )
        entries: Mapping[int, Any] = {}
        if source.crl is not None:
            found = crls.look_up(source.crl, [one.serial for one in leaves])
            if isinstance(found, str):
                source.crl, source.problem = None, found
            else:
                entries = found
        left: list[_Leaf] = []
        for start in range(0, len(leaves), CHUNK):
            part = leaves[start : start + CHUNK]
            if start:
                certificates = {c.sha256: c for c in self._read([one.sha256 for one in part])}
            told = []
            for leaf in part:
                status = self._status(source, certificates[leaf.sha256], leaf, entries)
                if status.status == "unknown":
                    left.append(leaf)
                    unknown[leaf.sha256] = (source, status)
                else:
                    unknown.pop(leaf.sha256, None)
                    told.append((leaf, status))
            self._write(source, told)
        return left

    def _status(
        self, source: _Source, certificate: Certificate, leaf: _Leaf, entries: Mapping[int, Any]
    ) -> RevocationStatus:
        if source.crl is None or source.signer is None:
            return RevocationStatus("unknown", detail=source.problem)
        if not issued_by(certificate, source.signer):
            return RevocationStatus(
                "unknown", detail="the list was not signed by the issuer of the certificate"
            )
        if why := crls.out_of_scope(source.crl, certificate.crl_urls, is_ca=certificate.is_ca):
            return RevocationStatus("unknown", detail=why)
        return crls.status_of(source.crl, leaf.serial, entries)

    def _fetched(
        self, url: str, leaves: Sequence[Certificate], state: Row | None, got: Download
    ) -> _Source:
        """What was fetched, where it can be relied on; else what is held."""
        self.done.fetched += 1
        source = (
            self._relied_on(url, leaves, got.body) if not got.problem else _Source(url, got.problem)
        )
        held = state["this_update"] if state is not None and state["digest"] else None
        if source.crl is not None and held is not None and to_epoch(source.crl.this_update) < held:
            source = _Source(url, "it is older than the list that we hold")
        if source.crl is not None:
            source.fetched_at, source.next_at = self._at, to_epoch(next_look(source.crl, self.now))
            assert source.crl.next_update is not None
            with self.database.write(self.now) as tx:
                store.keep_list(
                    tx,
                    url,
                    {
                        "digest": source.crl.digest,
                        "body": got.body,
                        "this_update": to_epoch(source.crl.this_update),
                        "next_update": to_epoch(source.crl.next_update),
                        "next_at": source.next_at,
                    },
                )
            return source
        self.done.problems[url] = source.problem
        failures = (state["failures"] if state is not None else 0) + 1
        next_at = to_epoch(backed_off(failures, self.now))
        with self.database.write(self.now) as tx:
            store.list_failed(tx, url, source.problem, failures, next_at)
        kept = self._held(url, leaves, state)
        kept.next_at = next_at
        if kept.crl is None:
            kept.problem = source.problem
        return kept

    def _held(self, url: str, leaves: Sequence[Certificate], state: Row | None) -> _Source:
        assert state is not None or url in self.done.problems
        with self.database.read() as conn:
            body = store.body_of(conn, url) if state is not None and state["digest"] else None
        problem = (state["error"] if state is not None else None) or "the list was never had"
        source = self._relied_on(url, leaves, body) if body else _Source(url, problem)
        source.fetched_at = state["fetched_at"] or 0 if state is not None else 0
        source.next_at = state["next_at"] if state is not None else self._at
        if source.crl is None and state is not None and state["error"]:
            source.problem = state["error"]
        return source

    def _relied_on(self, url: str, leaves: Sequence[Certificate], body: bytes) -> _Source:
        crl = crls.read(body)
        if isinstance(crl, str):
            return _Source(url, crl)
        if why := crls.objection(crl, self.now):
            return _Source(url, why)
        issuers = {
            i.sha256: i for leaf in leaves[:SAMPLE] if (i := self._issuer_of(leaf)) is not None
        }.values()
        if not issuers:
            return _Source(
                url, "the certificate of the issuer is not held, so its signature cannot be checked"
            )
        named = [i for i in issuers if i.subject_der == crl.issuer_der]
        if not named:
            return _Source(url, "it is the list of another issuer")
        signer = next((i for i in named if crls.signed_by(crl, i)), None)
        if signer is None:
            return _Source(url, "its signature is not that of the issuer")
        scopes = [crls.out_of_scope(crl, leaf.crl_urls, is_ca=leaf.is_ca) for leaf in leaves]
        if all(scopes):
            return _Source(url, scopes[0])
        return _Source(url, "", crl, signer)

    def _issuer_of(self, leaf: Certificate) -> Certificate | None:
        """One whose key verifies the leaf, of those that were sent with it, CA certificates that
        were seen, and trust anchors.
        """
        known = self._issuers.setdefault(leaf.issuer_der, [])
        if (one := next((c for c in known if issued_by(leaf, c)), None)) is not None:
            return one
        with self.database.read() as conn:
            seen = [*store.sent_with(conn, leaf.sha256), *store.issuers_named(conn, leaf.issuer)]
        candidates = (*map(parse, seen), *self._anchors.get(leaf.issuer_der, ()))
        found = next((c for c in candidates if issued_by(leaf, c)), None)
        if found is not None:
            known.append(found)
        return found

    # -- what is written

    def _write(self, source: _Source, told: Sequence[tuple[_Leaf, RevocationStatus]]) -> None:
        if not told:
            return
        with self.database.write(self.now) as tx:
            before = store.statuses(tx.conn, [leaf.sha256 for leaf, _ in told])
            rows = [
                self._told(leaf.sha256, source, status, before.get(leaf.sha256))
                for leaf, status in told
            ]
            store.write_statuses(tx, rows)
        self.done.revoked += sum(r["status"] == "revoked" for r in rows)

    @staticmethod
    def _told(
        sha256: str, source: _Source, status: RevocationStatus, before: Row | None
    ) -> dict[str, Any]:
        """Revoked stays revoked, but for a certificate that was only on hold (RFC 5280 5.3.1)."""
        if (
            before is not None
            and before["status"] == "revoked"
            and status.status == "good"
            and before["reason"] != "certificateHold"
        ):
            return {**before, "next_at": source.next_at, "detail": "no longer on the list"}
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

    def _failed(
        self, sha256: str, source: _Source, status: RevocationStatus, before: Row | None
    ) -> dict[str, Any]:
        """Nothing was told: what was known stays, with when it was known.

        Good is unknown once that is longer ago than ``GRACE``.
        """
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
        changed = {**before, "detail": status.detail, "next_at": next_at}
        if before["status"] == "good" and self._at - before["checked_at"] > GRACE.total_seconds():
            changed |= {"status": "unknown", "source": source.url}
        return changed
