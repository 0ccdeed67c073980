"""Resolve names to addresses with c-ares.

/etc/hosts comes first, then the resolvers of the system or of the configuration.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import aiodns
import pycares
import pycares.errno as codes

from certmgr.net.addresses import Network, refusal
from certmgr.scan.evidence import Resolution

# Each address is probed. A name with more of them is a mistake, or wants to use our time.
MAX_ADDRESSES = 32
# A run resolves the names of redirects and of other ports again. Without this bound, a large
# inventory would stay in memory.
MAX_CACHE = 20_000
# Why a query failed; c-ares has words for programmers.
_NOT_ANSWERED = "the query failed"
_FAILURES = {
    codes.ARES_EFORMERR: "the resolver cannot read the query (FORMERR)",
    codes.ARES_ESERVFAIL: "the resolver reports a failure (SERVFAIL)",
    codes.ARES_ENOTIMP: "the resolver does not support the query (NOTIMP)",
    codes.ARES_EREFUSED: "the resolver refuses the query (REFUSED)",
    codes.ARES_EBADNAME: "the name cannot be queried",
    codes.ARES_EBADRESP: "the answer of the resolver cannot be read",
    codes.ARES_ECONNREFUSED: "no resolver could be reached",
}


class Resolver:
    """A resolver with one c-ares channel that queries each name once per run.

    ``at_once`` bounds the number of queries at once. If ``guarded``, internal addresses from public
    DNS are not visited, except within ``allowed``.
    """

    def __init__(
        self,
        *,
        servers: Sequence[str] = (),
        timeout: float = 2.0,
        tries: int = 2,
        allowed: Sequence[Network] = (),
        guarded: bool = True,
        at_once: int = 400,
        overrides: dict[tuple[str, int], tuple[str, ...]] | None = None,
    ) -> None:
        self._servers, self._timeout, self._tries = list(servers), timeout, tries
        self._allowed, self._guarded = tuple(allowed), guarded
        self._overrides = overrides or {}
        self._limit = asyncio.Semaphore(at_once)
        self._cache: dict[str, asyncio.Task[Resolution]] = {}
        self._channel: Any = None

    async def resolve(self, host: str, port: int) -> Resolution:
        """Resolve a name.

        The user chose an override (:option:`--resolve`), so its addresses are not guarded.

        Args:
            host: A name in A-label form.
            port: Selects the override.
        """
        if self._overrides:
            fixed = self._overrides.get((host, port))
            if fixed:
                return Resolution("fixed", fixed)
        task = self._cache.get(host)
        if task is None:
            # Unfinished tasks stay: callers wait for them.
            if len(self._cache) >= MAX_CACHE:
                self._cache = {name: task for name, task in self._cache.items() if not task.done()}
            # The task is cached, not its result: callers that come meanwhile share one query.
            task = self._cache[host] = asyncio.ensure_future(self._query(host))
        return await task

    async def _query(self, host: str) -> Resolution:
        # Too many queries at once would exhaust sockets and overload the resolver.
        async with self._limit:
            if self._channel is None:
                self._channel = self._open_channel()
            answers = [
                await self._query_family(host, family)
                for family in (socket.AF_INET, socket.AF_INET6)
            ]
        addresses = [a for answer in answers for a in answer.addresses]
        failed = next((a for a in answers if a.status in ("servfail", "timeout")), None)
        if not addresses:
            # Without an address, a failed query leaves the result open: that family may have some.
            return failed or answers[0]
        resolution = self._sorted(list(dict.fromkeys(addresses)))
        if failed is not None:
            # The other family answered. Its addresses are probed, but there may be more.
            return replace(resolution, partial=failed.reason)
        return resolution

    async def _query_family(self, host: str, family: int) -> Resolution:
        """Query one address family.

        In a joint query, c-ares takes a partial answer for a whole one.
        """

        try:
            answer = await self._channel.getaddrinfo(host, family=family, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            return self._failure(error)
        except (UnicodeError, ValueError):
            return Resolution("servfail", reason=_FAILURES[codes.ARES_EBADNAME])
        nodes = [n.addr[0] for n in answer.nodes]
        return Resolution(
            "ok", tuple(a.decode("ascii") if isinstance(a, bytes) else str(a) for a in nodes)
        )

    def _open_channel(self) -> Any:
        options: dict[str, Any] = {
            "timeout": self._timeout,
            "tries": self._tries,
            # No search domains: an endpoint name is complete.
            "flags": pycares.ARES_FLAG_NOSEARCH,
        }
        return aiodns.DNSResolver(nameservers=self._servers or None, **options)

    def _failure(self, error: Exception) -> Resolution:
        code = error.args[0] if error.args else 0
        if code == codes.ARES_ENOTFOUND:
            return Resolution("nxdomain", reason="the name does not exist (NXDOMAIN)")
        if code == codes.ARES_ENODATA:
            return Resolution("nodata", reason="the name has no A and no AAAA record")
        if code == codes.ARES_ETIMEOUT:
            return Resolution("timeout", reason="no resolver answered in time")
        return Resolution("servfail", reason=_FAILURES.get(code, _NOT_ANSWERED))

    def _sorted(self, addresses: list[str]) -> Resolution:
        """Sort addresses, IPv4 before IPv6, and split off the refused ones.

        The fixed order makes equal answers give equal evidence.
        """

        allowed, refused = [], []
        for address in sorted(addresses, key=lambda a: (ip_address(a).version, int(ip_address(a))))[
            :MAX_ADDRESSES
        ]:
            reason = refusal(address, self._allowed) if self._guarded else None
            if reason is None:
                allowed.append(address)
            else:
                refused.append((address, reason))
        return Resolution("ok" if addresses else "nodata", tuple(allowed), tuple(refused))

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()
