"""The records of dns-persist-01 for the names of a CA's account, and their watch.

This module performs I/O.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from typing import Any

from certmgr.acme.challenges.build import new_dns_client
from certmgr.acme.challenges.kinds import challenge_of
from certmgr.acme.challenges.persist import (
    CHALLENGE,
    PersistRecord,
    PersistState,
    account_uri,
    issuer_names,
)
from certmgr.acme.challenges.persisted import check
from certmgr.acme.context import IssuanceContext
from certmgr.acme.protocol.session import AccountSession
from inventory.errors import CertmgrError, UsageError
from inventory.names import as_ip, display
from inventory.records import ListedLineage
from inventory.store import lineages


def record_for(
    session: AccountSession,
    name: str,
    *,
    wildcard: bool = False,
    until: int | None = None,
    offered: Any = None,
) -> PersistRecord:
    """Return the record that a CA expects for a name.

    Args:
        session: The session of the account.
        name: The name, without ``*.``.
        wildcard: Whether a wildcard of the name is to be validated.
        until: The value of persistUntil in epoch seconds; None without an end.
        offered: The challenge that the CA offers; None before an order.

    Raises:
        UsageError: The CA does not state its names, or the name is an address.
        CertmgrError: What the CA states cannot be used.
    """
    if as_ip(name) is not None:
        raise UsageError(
            f"{name} cannot be validated by {CHALLENGE}", "this challenge needs a DNS name"
        )
    meta = session.net.meta
    published = meta.get("issuerDomainNames")
    # A challenge of an earlier draft has another spelling, and its directory has no names.
    in_challenge = (offered or {}).get("issuerDomainNames") or (offered or {}).get(
        "issuer-domain-names"
    )
    if offered is not None:
        issuers = issuer_names(in_challenge)
        # Draft -02, 3.2: each name of the directory must be in the challenge.
        # A challenge that leaves out a name of the CA could lead the client to permit another CA.
        if published is not None and not set(issuer_names(published)) <= set(issuers):
            raise CertmgrError(
                "The CA's offer of dns-persist-01 cannot be used",
                "its challenge lacks a name that its directory states",
                "Use another solver for this CA.",
            )
        if published is not None:
            issuers = tuple(dict.fromkeys([*issuer_names(published), *issuers]))
    elif published is not None:
        issuers = issuer_names(published)
    # Without a separate list, the names for CAA records are the best guess. The challenge of an
    # order decides.
    elif session.caa:
        issuers = issuer_names(session.caa)
    else:
        raise UsageError(
            f"{session.ca.title} does not state its name for {CHALLENGE}",
            "its directory has neither issuerDomainNames nor caaIdentities",
            "Use another solver for this CA.",
        )
    thumbprint = urlsafe_b64encode(session.key.thumbprint()).rstrip(b"=").decode()
    account = account_uri(meta.get("accountHashPrefix"), name, thumbprint, session.url)
    return PersistRecord(name, issuers, account, wildcard, until)


def records_of(
    session: AccountSession, names: Sequence[str], until: int | None = None
) -> list[PersistRecord]:
    """Return one record per name; a wildcard and its bare name share one."""
    bare = dict.fromkeys(n.removeprefix("*.") for n in names)
    return [record_for(session, n, wildcard=f"*.{n}" in names, until=until) for n in bare]


def watch(context: IssuanceContext) -> Iterator[tuple[str, str, bool]]:
    """Check the records of all lineages that use this challenge.

    Yields:
        (lineage, what is wrong in words, whether a renewal would fail now). A record that cannot be
        queried is not reported: that is not evidence of a change.
    """
    solvers = {n for n, s in context.settings.acme.solvers.items() if challenge_of(s) == CHALLENGE}
    if not solvers:
        return
    with context.read() as conn:
        rows = [r for r in lineages.listing(conn) if r.solver in solvers]
    for row in rows:
        yield from _watch_one(context, row)


def _watch_one(context: IssuanceContext, row: ListedLineage) -> Iterator[tuple[str, str, bool]]:
    active = [n.name for n in row.names if n.state == "active"]
    try:
        expected = records_of(context.session(row.account_id), active)
    # An unreachable CA is reported by the orders.
    except CertmgrError:
        return
    dns_client = new_dns_client(context.settings)
    for record in expected:
        verdict = check(dns_client, record, context.now)
        if verdict.state in (PersistState.VALID, PersistState.UNKNOWN):
            continue
        todo = f"add {record.zone_line}" if not verdict.accepted else "publish it with a later end"
        text = f"{display(record.name)}: {CHALLENGE}: {verdict.reason}; {todo}"
        yield row.name, text, not verdict.accepted
