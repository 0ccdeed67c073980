"""The look that proves an installation: every address of every name, every backend of a balancer,
asked for each key type on its own. An edge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from certmgr.config.settings import Settings
from certmgr.inspection.scan_run import ScanOptions, setup_for
from certmgr.inspection.verification import Observation
from certmgr.scan.dial import Dialler, DialRequest, DialResult
from certmgr.scan.evidence import FailureKind
from certmgr.scan.resolve import Resolver
from inventory.certificates import parse
from inventory.names import as_ip, matches
from inventory.targets import PORTS, Target
from inventory.targets import parse as parse_target

PROFILES = {"EC": "ec", "RSA": "rsa"}
# A server that has no certificate of the kind that is asked for answers with an alert; some hang
# up.
_HUNG = frozenset({FailureKind.TLS, FailureKind.CLOSED, FailureKind.RESET})
MAX_PLACES = 2000


@dataclass(frozen=True, slots=True)
class LiveCheckTarget:
    """Where a name is looked at.

    ``fixed``: addresses in place of DNS. ``backends``: (server, target) behind it, by inside
    address.
    """

    target: Target
    fixed: tuple[str, ...] = ()
    backends: tuple[tuple[str, Target], ...] = ()


def places(names: Sequence[str], endpoints: Sequence[Mapping[str, Any]]) -> list[LiveCheckTarget]:
    """The client's endpoints that the names of a case cover; a name that has none is looked at on
    port 443. Pure.
    """
    found: list[LiveCheckTarget] = []
    plain = [n for n in names if not n.startswith("*.")]
    wild = [n for n in names if n.startswith("*.")]
    for row in endpoints:
        if row["host"] in plain or any(matches(w, row["host"]) for w in wild):
            target = Target(row["host"], row["port"], row["protocol"])
            behind = tuple(
                (row["server"] or "", _backend(b, target)) for b in (row["backends"] or "").split()
            )
            found.append(LiveCheckTarget(target, tuple((row["addresses"] or "").split()), behind))
    for name in plain:
        if not any(p.target.host == name for p in found):
            found.append(LiveCheckTarget(Target(name), (), _behind(name, endpoints)))
    return found


def _behind(name: str, endpoints: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, Target], ...]:
    """The backends of the domain that the name stands under."""
    above = [r for r in endpoints if name == r["domain"] or name.endswith("." + r["domain"])]
    row = max(above, key=lambda r: len(r["domain"]), default=None)
    return (
        tuple(
            (row["server"] or "", _backend(b, Target(name)))
            for b in (row["backends"] or "").split()
        )
        if row is not None
        else ()
    )


def _backend(text: str, target: Target) -> Target:
    """host[:port] behind a balancer; without a port (or with that of its protocol) the endpoint's
    own.
    """
    inner = parse_target(text)
    port = target.port if inner.port == PORTS["https"] else inner.port
    return Target(inner.host, port, target.protocol)


async def _sights(
    settings: Settings,
    wanted: Sequence[LiveCheckTarget],
    overrides: Mapping[tuple[str, int], tuple[str, ...]],
) -> list[Observation]:
    setup = setup_for(settings, ScanOptions(overrides=overrides), guarded=True)
    dialler = Dialler(setup.limits)
    resolver = Resolver(
        servers=setup.resolvers,
        timeout=setup.dns_timeout,
        allowed=setup.allowed,
        guarded=True,
        overrides=dict(overrides),
    )
    # Backends are the provider's own choice, and inside.
    inside = Resolver(
        servers=setup.resolvers, timeout=setup.dns_timeout, guarded=False, overrides=dict(overrides)
    )
    try:
        found = await asyncio.gather(*[_place(dialler, resolver, inside, p) for p in wanted])
    finally:
        dialler.close()
        await resolver.close()
        await inside.close()
    return [s for group in found for s in group]


async def _place(
    dialler: Dialler, resolver: Resolver, inside: Resolver, place: LiveCheckTarget
) -> list[Observation]:
    target = place.target
    addresses, problem = await _addresses(resolver, target, place.fixed)
    asked: list[tuple[str, str, int]] = [(a, "", target.port) for a in addresses]
    found = [
        Observation(
            host=target.host,
            port=target.port,
            address="the DNS",
            key_type=k,
            sha256=None,
            error=problem,
            kind="dns",
        )
        for k in PROFILES
        if problem
    ]
    for server, behind in place.backends:
        inner, trouble = await _addresses(inside, behind, ())
        asked += [(a, server or "the balancer", behind.port) for a in inner]
        if trouble:
            where = server or "the balancer"
            found += [
                Observation(
                    host=target.host,
                    port=behind.port,
                    address=behind.host,
                    key_type=k,
                    sha256=None,
                    error=trouble,
                    backend=where,
                    kind="dns",
                )
                for k in PROFILES
            ]
    results = await asyncio.gather(
        *[_ask(dialler, target, a, port, k, server) for a, server, port in asked for k in PROFILES]
    )
    return [*found, *results]


async def _addresses(
    resolver: Resolver, target: Target, fixed: tuple[str, ...]
) -> tuple[tuple[str, ...], str]:
    """(addresses, why nobody can say which there are): a family that did not answer, or an address
    that must not be visited, leaves that open.
    """
    if fixed:
        return fixed, ""
    if as_ip(target.host) is not None:
        return (target.host,), ""
    answer = await resolver.resolve(target.host, target.port)
    if answer.status not in ("ok", "fixed"):
        return (), answer.reason or f"the DNS answered {answer.status}"
    if answer.refused:
        return answer.addresses, f"{answer.refused[0][0]} is not visited: {answer.refused[0][1]}"
    return answer.addresses, answer.partial


async def _ask(
    dialler: Dialler, target: Target, address: str, port: int, key_type: str, backend: str
) -> Observation:
    name = None if target.is_address else target.host
    result: DialResult = await dialler.dial(
        DialRequest(address, port, target.protocol, name, profile=PROFILES[key_type])
    )
    sha256, error, hung = None, "", False
    kind = str(result.failure.kind) if result.failure is not None else ""
    if result.chain:
        leaf = parse(result.chain[0])
        sha256 = leaf.sha256 if leaf.key_type == key_type else None
    elif result.failure is not None and result.failure.kind is not FailureKind.ALERT:
        error, hung = result.failure.reason, result.failure.kind in _HUNG
    return Observation(
        host=target.host,
        port=port,
        address=address,
        key_type=key_type,
        sha256=sha256,
        error=error,
        backend=backend,
        hung=hung,
        kind=kind,
        der=result.chain[0] if result.chain else b"",
    )


def check_live(
    settings: Settings,
    wanted: Sequence[LiveCheckTarget],
    overrides: Mapping[tuple[str, int], tuple[str, ...]] | None = None,
) -> list[Observation]:
    """Blocks until every place answered or had its time. ``overrides``: as --resolve of scan."""
    return asyncio.run(_sights(settings, wanted, overrides or {}))
