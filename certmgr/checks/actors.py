"""Who must act on a finding, derived from the inventory. Pure."""

from __future__ import annotations

from dataclasses import replace

from inventory.finding_codes import CODES, Responsible
from inventory.vocabulary import REISSUE, SAME_CERTIFICATE, Actor, Finding, Parties, Severity


def _actor(party: str | None, parties: Parties) -> Actor:
    """Return the actor for a party.

    us: the provider. A panel: the provider on our server, else the client. The client, or the
    client's CDN: the client. Others are unknown, so staff decide.
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
    serves_default: bool = False,
    variant: object = None,
) -> Actor:
    """Return who must act on a finding.

    Args:
        parties: The parties of the endpoint; None if it is not in the inventory.
        elsewhere: The name points to none of our servers.
        serves_default: The server sends its default certificate, so a new certificate for the
            client does not fix it.
        variant: The ``variant`` of the evidence: with ``reissue``, only another certificate helps;
            with ``same-certificate``, the address may be one of ours.
    """
    role = Responsible.HOLDER if variant == REISSUE else CODES[code].role
    # Staff know whether the networks of the configuration are complete.
    if variant == SAME_CERTIFICATE:
        role = Responsible.STAFF
    # The certificate may exist: the host has to configure the virtual host.
    if serves_default and role is Responsible.HOLDER:
        role = Responsible.HOST
    # Clients are not asked to act on something that certmgr could not determine.
    if severity == Severity.UNDETERMINED or role is Responsible.STAFF:
        return Actor.STAFF
    if role is Responsible.NONE:
        return Actor.NONE
    # Without parties in the inventory only staff can decide.
    if parties is None:
        return Actor.STAFF
    host, buyer, renewer = parties.hosts, parties.buys, parties.renews
    if elsewhere:  # behind addresses that are not ours, no fault is ours
        host, buyer, renewer = (
            "client" if p in (None, "us", "panel") else p for p in (host, buyer, renewer)
        )
    # If another party renews the certificate, it is responsible before the buyer.
    holder = renewer or buyer
    match role:
        case Responsible.DNS:
            return _actor(parties.dns, parties)
        case Responsible.HOLDER:
            return _actor(holder, parties)
        case Responsible.HOLDER_OR_HOST:
            # If there never was a certificate, the buyer must act. If there was one, the host
            # removed it or broke its configuration.
            return _actor(host if ever_had_certificate else (buyer or holder), parties)
        case Responsible.CLIENT:
            return Actor.CLIENT
        case _:
            return _actor(host, parties)


def parties_decide(code: str, severity: str) -> bool:
    """Return whether the recorded parties of a domain decide who must act on a finding.

    If such a finding is for staff, the inventory does not state one of the parties.
    """
    known = Parties(hosts="client", dns="client", buys="client", renews="client")
    actor = actor_of(code, severity, known, elsewhere=False, ever_had_certificate=True)
    return actor not in (Actor.STAFF, Actor.NONE)


def with_actor(
    finding: Finding,
    parties: Parties | None,
    *,
    elsewhere: bool,
    ever_had_certificate: bool,
    serves_default: bool = False,
) -> Finding:
    """Return the finding with its ``actor`` and ``outcome``.

    If the client must act, the outcome is you-act. If the provider must act, it is we-act only once
    a named person or an automation has accepted it with a date. This module does not know that, so
    it returns None. It is also None for info, low and undetermined.
    """
    actor = actor_of(
        finding.code,
        finding.severity,
        parties,
        elsewhere=elsewhere,
        ever_had_certificate=ever_had_certificate,
        serves_default=serves_default,
        variant=finding.evidence.get("variant"),
    )
    needs_action = finding.severity in (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM)
    return replace(
        finding, actor=actor, outcome="you-act" if actor is Actor.CLIENT and needs_action else None
    )


def we_install(parties: Parties | None, elsewhere: bool) -> bool:
    """Return whether the provider installs the certificate.

    The provider runs the host, and the name points to it.
    """
    return (
        actor_of(
            # Any code with the role host names the party that runs the server.
            "redirect-missing",
            "medium",
            parties,
            elsewhere=elsewhere,
            ever_had_certificate=True,
        )
        is Actor.PROVIDER
    )
