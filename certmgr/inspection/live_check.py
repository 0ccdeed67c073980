"""The probes that verify an installation, with network access.

Each address of each name, and each backend of a load balancer, is probed once per key type.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from certmgr.config.settings import Settings
from certmgr.inspection.scan_options import ScanOptions, setup_for
from certmgr.inspection.verification import Observation
from certmgr.net.addresses import networks
from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialRequest, DialResult
from certmgr.scan.evidence import FailureKind
from certmgr.scan.resolve import Resolver
from inventory.certificates import parse
from inventory.names import as_ip, matches
from inventory.records import ClientEndpoint
from inventory.targets import PORTS, Target, parse_backend
from inventory.zone_names import DEFAULT_ZONE

# A handshake shows one certificate. A server with both kinds chooses by the offer, so each kind
# needs a separate probe.
PROFILES = {"EC": "ec", "RSA": "rsa"}
# A server without a certificate of the offered key type sends an alert; some servers close the
# connection instead.
_HANG_UP_KINDS = frozenset({FailureKind.TLS, FailureKind.CLOSED, FailureKind.RESET})
MAX_TARGETS = 2000  # per case


@dataclass(frozen=True, slots=True)
class LiveCheckTarget:
    """An endpoint to probe.

    Attributes:
        target: The host, port and protocol.
        fixed: Addresses to probe instead of those from the DNS.
        backends: (server, target) of each backend behind it, by its internal address.
        zone: The vantage point that reaches it.
    """

    target: Target
    fixed: tuple[str, ...] = ()
    backends: tuple[tuple[str, Target], ...] = ()
    zone: str = DEFAULT_ZONE


def live_check_targets(
    names: Sequence[str], endpoints: Sequence[ClientEndpoint]
) -> list[LiveCheckTarget]:
    """Return the endpoints to probe for the names of a case. Pure.

    A name without an endpoint is probed at port 443. A wildcard is probed only at the endpoints
    that it covers, since it has no address.

    Args:
        names: The names of the case.
        endpoints: The endpoints of its client.
    """
    targets: list[LiveCheckTarget] = []
    # A wildcard covers exactly one label, so it is matched against the known hosts.
    plain = [n for n in names if not n.startswith("*.")]
    wild = [n for n in names if n.startswith("*.")]
    for row in endpoints:
        if row.host in plain or any(matches(w, row.host) for w in wild):
            target = Target(row.host, row.port, row.protocol)
            backends = tuple((row.server or "", _backend(b, target)) for b in row.backends or ())
            fixed = row.addresses or ()
            targets.append(LiveCheckTarget(target, fixed, backends))
    for name in plain:
        if not any(p.target.host == name for p in targets):
            targets.append(LiveCheckTarget(Target(name), (), _backends_of_domain(name, endpoints)))
    return targets


def _backends_of_domain(
    name: str, endpoints: Sequence[ClientEndpoint]
) -> tuple[tuple[str, Target], ...]:
    """Return the backends of the closest domain of the inventory above the name."""
    above = [r for r in endpoints if name == r.domain or name.endswith("." + r.domain)]
    row = max(above, key=lambda r: len(r.domain), default=None)
    return (
        tuple((row.server or "", _backend(b, Target(name))) for b in row.backends or ())
        if row is not None
        else ()
    )


def _backend(text: str, target: Target) -> Target:
    """Parse ``host[:port]`` of a backend.

    Without a port, or with the default port of HTTPS, the port of the endpoint is used.
    """
    backend = parse_backend(text)
    port = target.port if backend.port == PORTS["https"] else backend.port
    return Target(backend.host, port, target.protocol)


async def _observe(
    settings: Settings,
    targets: Sequence[LiveCheckTarget],
    overrides: Mapping[tuple[str, int], tuple[str, ...]],
) -> list[Observation]:
    setup = setup_for(settings, ScanOptions(overrides=overrides), guarded=True)
    # The provider configures the backends, so they are its servers, also outside of its networks.
    backends = [b.host for t in targets for _, b in t.backends if b.is_address]
    own = (*setup.limits.own, *networks(dict.fromkeys(backends), "backends"))
    dialler = Dialler(replace(setup.limits, own=own), ehlo_name=setup.ehlo_name)
    resolver = Resolver(
        servers=setup.resolvers,
        timeout=setup.dns_timeout,
        allowed=setup.allowed,
        guarded=True,
        overrides=dict(overrides),
    )
    # The provider configures the backends, and their addresses are internal. So this resolver does
    # not refuse internal addresses.
    internal = Resolver(
        servers=setup.resolvers, timeout=setup.dns_timeout, guarded=False, overrides=dict(overrides)
    )
    try:
        groups = await asyncio.gather(
            *[_check_target(dialler, resolver, internal, t) for t in targets]
        )
    finally:
        dialler.close()
        await resolver.close()
        await internal.close()
    return [observation for group in groups for observation in group]


async def _check_target(
    dialler: Dialler, resolver: Resolver, internal: Resolver, live_target: LiveCheckTarget
) -> list[Observation]:
    target = live_target.target
    addresses, problem = await _addresses(resolver, target, live_target.fixed)
    probes: list[tuple[str, str, int]] = [(a, "", target.port) for a in addresses]
    # A name that could not be resolved gives a failed observation, so that it never counts as live.
    failed = [
        Observation(
            host=target.host,
            port=target.port,
            address="the DNS",
            key_type=k,
            sha256=None,
            error=problem,
            kind="dns",
        )
        for k in PROFILES  # one per key type, since each expected type must be verified
        if problem
    ]
    for server, backend in live_target.backends:
        backend_addresses, backend_problem = await _addresses(internal, backend, ())
        probes += [(a, server or "the load balancer", backend.port) for a in backend_addresses]
        if backend_problem:
            balancer = server or "the load balancer"
            failed += [
                Observation(
                    host=target.host,
                    port=backend.port,
                    address=backend.host,
                    key_type=k,
                    sha256=None,
                    error=backend_problem,
                    backend=balancer,
                    kind="dns",
                )
                for k in PROFILES
            ]
    results = await asyncio.gather(
        *[
            _probe_address(dialler, target, a, port, k, server)
            for a, server, port in probes
            for k in PROFILES
        ]
    )
    return [*failed, *results]


async def _addresses(
    resolver: Resolver, target: Target, fixed: tuple[str, ...]
) -> tuple[tuple[str, ...], str]:
    """Return the addresses of a target, and why they may be incomplete (empty if they are not).

    They may be incomplete if the query for one address family failed, or if an address was refused.
    """
    if fixed:
        return fixed, ""
    if as_ip(target.host) is not None:
        return (target.host,), ""
    answer = await resolver.resolve(target.host, target.port)
    if answer.status not in ("ok", "fixed"):
        return (), answer.reason or f"the DNS answered {answer.status}"
    # A refused address may serve anything, so the result cannot be "live".
    if answer.refused:
        return answer.addresses, f"{answer.refused[0][0]} is not visited: {answer.refused[0][1]}"
    return answer.addresses, answer.partial


async def _probe_address(
    dialler: Dialler, target: Target, address: str, port: int, key_type: str, backend: str
) -> Observation:
    # SNI must not contain an IP address (RFC 6066 3).
    name = None if target.is_address else target.host
    result: DialResult = await dialler.dial(
        DialRequest(
            address, port, target.protocol, name, profile=PROFILES[key_type], host=target.host
        )
    )
    sha256, error, hung_up = None, "", False
    kind = str(result.failure.kind) if result.failure is not None else ""
    if result.chain:
        leaf = parse(result.chain[0])
        # A leaf of another key type does not count here: the probe for that type observes it.
        sha256 = leaf.sha256 if leaf.key_type == key_type else None
    elif result.failure is not None and result.failure.kind is not FailureKind.ALERT:
        # An alert is a definite answer: there is no certificate of this key type.
        error, hung_up = result.failure.reason, result.failure.kind in _HANG_UP_KINDS
    return Observation(
        host=target.host,
        port=port,
        address=address,
        key_type=key_type,
        sha256=sha256,
        error=error,
        backend=backend,
        hung=hung_up,
        kind=kind,
        der=result.chain[0] if result.chain else b"",
    )


def check_live(
    settings: Settings,
    targets: Sequence[LiveCheckTarget],
    overrides: Mapping[tuple[str, int], tuple[str, ...]] | None = None,
) -> list[Observation]:
    """Probe all targets; block until each probe is answered or times out.

    Args:
        settings: The settings, for limits, resolvers and permitted networks.
        targets: The endpoints to probe.
        overrides: Addresses by (host, port), as with ``--resolve`` of ``certmgr scan``.

    Returns:
        One observation per address and key type.
    """
    return asyncio.run(_observe(settings, targets, overrides or {}))
