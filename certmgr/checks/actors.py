"""Who must act on a finding: computed from what the inventory says, never fixed. Pure."""

from __future__ import annotations

from dataclasses import replace

from certmgr.checks.codes import CODES
from inventory.vocabulary import Actor, Finding, Parties, Severity


def _actor(party: str | None, parties: Parties) -> Actor:
    """us -> provider; a panel on our server -> provider, elsewhere the client's; a CDN or a robot
    of the client's -> client.
    """
    match party:
        case "us":
            return Actor.PROVIDER
        case "panel":
            return Actor.PROVIDER if parties.on_our_server else Actor.CLIENT
        case "client" | "cdn":
            return Actor.CLIENT
        case _:
            return Actor.STAFF


def actor_of(
    code: str,
    severity: str,
    parties: Parties | None,
    *,
    elsewhere: bool,
    ever_had_certificate: bool,
    not_theirs: bool = False,
) -> Actor:
    """``parties`` None: the endpoint is not in the inventory.

    ``elsewhere``: the name points to nobody's server of ours. ``not_theirs``: what is served is the
    server's default certificate, so whoever buys the client's cannot mend it.
    """
    role = CODES[code].role
    if not_theirs and role == "holder":
        role = "host"
    if severity == Severity.UNDETERMINED or role == "staff":
        return Actor.STAFF
    if role == "none":
        return Actor.NONE
    if parties is None:
        return Actor.STAFF
    hosts, buys, renews = parties.hosts, parties.buys, parties.renews
    if elsewhere:  # behind another's addresses no fault is ours
        hosts, buys, renews = (
            "client" if p in (None, "us", "panel") else p for p in (hosts, buys, renews)
        )
    holder = renews or buys
    match role:
        case "dns":
            return _actor(parties.dns, parties)
        case "holder":
            return _actor(holder, parties)
        case "holder-or-host":
            # For want of a certificate it waits for whoever buys it; one that was there is the
            # host's matter.
            return _actor(hosts if ever_had_certificate else (buys or holder), parties)
        case "client":
            return Actor.CLIENT
        case _:
            return _actor(hosts, parties)


def with_actor(
    finding: Finding,
    parties: Parties | None,
    *,
    elsewhere: bool,
    ever_had_certificate: bool,
    not_theirs: bool = False,
) -> Finding:
    """The finding with ``actor`` and ``outcome``.

    The client acts: you-act. We act: we-act only once a named person or a running automation has
    taken it with a date, which nothing here knows, so None. None for info, low and undetermined.
    """
    actor = actor_of(
        finding.code,
        finding.severity,
        parties,
        elsewhere=elsewhere,
        ever_had_certificate=ever_had_certificate,
        not_theirs=not_theirs,
    )
    worth = finding.severity in (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM)
    return replace(
        finding, actor=actor, outcome="you-act" if actor is Actor.CLIENT and worth else None
    )


def we_install(parties: Parties | None, elsewhere: bool) -> bool:
    """Whether we set up what is served: the host is ours, and the name points to it."""
    return (
        actor_of(
            "redirect-missing", "medium", parties, elsewhere=elsewhere, ever_had_certificate=True
        )
        is Actor.PROVIDER
    )
