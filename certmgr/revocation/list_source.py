"""The lists that a pass judges with: fetched now, or stored by an earlier pass, and verified.

A failed fetch erases nothing: the list that was fetched before counts until its nextUpdate.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certmgr.net.downloads import Download
from certmgr.x509 import crl as crls
from certmgr.x509.crl import Crl
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, parse
from inventory.db.database import Database, to_epoch
from inventory.distinguished_names import normalised
from inventory.records import CrlRecord
from inventory.store import certificates
from inventory.store import revocation as store

_log = logging.getLogger(__name__)

SHORTEST, LONGEST = timedelta(hours=1), timedelta(hours=24)
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


@dataclass(slots=True)
class ListSource:
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


class ListSources:
    """Gives the list of a URL. Issuers that were found are kept for the pass."""

    def __init__(
        self,
        database: Database,
        now: datetime,
        anchors: Mapping[bytes, Sequence[Certificate]],
        summary: CrlSummary,
    ) -> None:
        """Prepare a pass.

        Args:
            database: The inventory.
            now: The time of the pass.
            anchors: Trust anchors by the DER of their subject, since an anchor may issue leaves.
            summary: Counts what was fetched, and collects the problems.
        """
        self._database, self._now, self._anchors = database, now, anchors
        self._summary = summary
        self._issuers: dict[bytes, list[Certificate]] = {}
        self._at = to_epoch(now)

    def fetched(
        self, url: str, leaves: Sequence[Certificate], state: CrlRecord | None, download: Download
    ) -> ListSource:
        """Store the fetched list and return it if it is valid; else return the stored one."""
        self._summary.fetched += 1
        source = (
            self._validated(url, leaves, download.body)
            if not download.problem
            else ListSource(url, download.problem)
        )
        stored_update = state.this_update if state is not None and state.digest else None
        # An attacker on the way could replay an older list that lacks a revocation.
        if (
            source.crl is not None
            and stored_update is not None
            and to_epoch(source.crl.this_update) < stored_update
        ):
            source = ListSource(url, "it is older than the stored list")
        if source.crl is not None:
            source.fetched_at, source.next_at = (
                self._at,
                to_epoch(next_check(source.crl, self._now)),
            )
            assert source.crl.next_update is not None
            # The list is stored before any status that depends on it.
            with self._database.write(self._now) as tx:
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
        _log.info("the list %s cannot be used: %s", url, source.problem)
        self._summary.problems[url] = source.problem
        failures = (state.failures if state is not None else 0) + 1
        next_at = to_epoch(retry_at(failures, self._now))
        with self._database.write(self._now) as tx:
            store.list_failed(tx, url, source.problem, failures, next_at)
        # The list that was fetched before still counts until its nextUpdate.
        stored = self.stored(url, leaves, state)
        stored.next_at = next_at
        if stored.crl is None:
            stored.problem = source.problem
        return stored

    def stored(
        self, url: str, leaves: Sequence[Certificate], state: CrlRecord | None
    ) -> ListSource:
        assert state is not None or url in self._summary.problems
        with self._database.read() as conn:
            body = store.body_of(conn, url) if state is not None and state.digest else None
        problem = (state.error if state is not None else None) or "no list is stored"
        source = self._validated(url, leaves, body) if body else ListSource(url, problem)
        # A status is as old as the list that it comes from.
        source.fetched_at = state.fetched_at or 0 if state is not None else 0
        source.next_at = state.next_at if state is not None else self._at
        if source.crl is None and state is not None and state.error:
            source.problem = state.error
        return source

    def _validated(self, url: str, leaves: Sequence[Certificate], body: bytes) -> ListSource:
        """Return the list if it is valid for at least one of the leaves; else the problem."""
        crl = crls.read(body)
        if isinstance(crl, str):
            return ListSource(url, crl)
        # Before the signature, which costs a second for a large list.
        if reason := crls.unusable_reason(crl, self._now):
            return ListSource(url, reason)
        issuers = {
            i.sha256: i
            for leaf in leaves[:ISSUER_SAMPLE]
            if (i := self._issuer_of(leaf)) is not None
        }.values()
        if not issuers:
            return ListSource(
                url,
                "the certificate of the issuer is not stored, so the signature cannot be verified",
            )
        named = [i for i in issuers if i.subject_key == normalised(crl.issuer_der)]
        if not named:
            return ListSource(url, "it is the list of another issuer")
        # Two issuers with the same name may have different keys.
        signer = next((i for i in named if crls.signed_by(crl, i)), None)
        if signer is None:
            return ListSource(url, "its signature is not that of the issuer")
        # CAs split their lists; a list that covers none of these leaves is of no use for them.
        scopes = [crls.out_of_scope(crl, leaf.crl_urls, is_ca=leaf.is_ca) for leaf in leaves]
        if all(scopes):
            return ListSource(url, scopes[0])
        return ListSource(url, "", crl, signer)

    def _issuer_of(self, leaf: Certificate) -> Certificate | None:
        """Return a certificate whose key verifies the leaf, or None.

        Candidates are the certificates that were sent with it, CA certificates that any scan
        observed, and trust anchors.
        """
        # One issuer signs many leaves, so found issuers are kept for the pass.
        known = self._issuers.setdefault(leaf.issuer_key, [])
        if (issuer := next((c for c in known if issued_by(leaf, c)), None)) is not None:
            return issuer
        with self._database.read() as conn:
            observed = [
                *store.sent_with(conn, leaf.sha256),
                *certificates.issuers_named(conn, leaf.issuer),
            ]
        candidates = (*map(parse, observed), *self._anchors.get(leaf.issuer_key, ()))
        issuer = next((c for c in candidates if issued_by(leaf, c)), None)
        if issuer is not None:
            known.append(issuer)
        return issuer
