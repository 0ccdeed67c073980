"""Names -> addresses, with c-ares: /etc/hosts first, then the resolvers of the system or of the
configuration.
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

MAX_ADDRESSES = 32
MAX_CACHE = 20_000


class Resolver:
    """One channel, a bounded number of questions at once, and each name asked once a run.

    ``guarded``: addresses that a stranger's DNS points inside are not visited, except within
    ``allowed``.
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
        """``host``: an A-label name.

        An override of :option:`--resolve` is the user's own choice and may be anything.
        """
        if self._overrides:
            fixed = self._overrides.get((host, port))
            if fixed:
                return Resolution("fixed", fixed)
        task = self._cache.get(host)
        if task is None:
            if len(self._cache) >= MAX_CACHE:
                self._cache = {name: task for name, task in self._cache.items() if not task.done()}
            task = self._cache[host] = asyncio.ensure_future(self._ask(host))
        return await task

    async def _ask(self, host: str) -> Resolution:
        async with self._limit:
            if self._channel is None:
                self._channel = self._open()
            answers = [
                await self._family(host, family) for family in (socket.AF_INET, socket.AF_INET6)
            ]
        found = [a for answer in answers for a in answer.addresses]
        failed = next((a for a in answers if a.status in ("servfail", "timeout")), None)
        if not found:
            return failed or answers[0]
        resolution = self._sorted(list(dict.fromkeys(found)))
        if failed is not None:
            # The other family answered: its addresses are looked at, and nobody can say whether
            # there are more.
            return replace(resolution, partial=failed.reason)
        return resolution

    async def _family(self, host: str, family: int) -> Resolution:
        """One family on its own: c-ares takes a partial answer for a whole one."""

        try:
            answer = await self._channel.getaddrinfo(host, family=family, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            return self._failed(error)
        except (UnicodeError, ValueError) as error:
            return Resolution("servfail", reason=str(error)[:200])
        nodes = [n.addr[0] for n in answer.nodes]
        return Resolution(
            "ok", tuple(a.decode("ascii") if isinstance(a, bytes) else str(a) for a in nodes)
        )

    def _open(self) -> Any:
        options: dict[str, Any] = {
            "timeout": self._timeout,
            "tries": self._tries,
            "flags": pycares.ARES_FLAG_NOSEARCH,
        }
        return aiodns.DNSResolver(nameservers=self._servers or None, **options)

    def _failed(self, error: Exception) -> Resolution:
        code = error.args[0] if error.args else 0
        reason = codes.strerror(code) if isinstance(code, int) else str(error)
        if code == codes.ARES_ENOTFOUND:
            return Resolution("nxdomain", reason="the name does not exist (NXDOMAIN)")
        if code == codes.ARES_ENODATA:
            return Resolution("nodata", reason="the name has no A and no AAAA record")
        if code == codes.ARES_ETIMEOUT:
            return Resolution("timeout", reason="no resolver answered in time")
        return Resolution("servfail", reason=str(reason)[:200])

    def _sorted(self, addresses: list[str]) -> Resolution:
        """IPv4 before IPv6, in a fixed order, so that the same answer gives the same evidence."""

        allowed, refused = [], []
        for address in sorted(addresses, key=lambda a: (ip_address(a).version, int(ip_address(a))))[
            :MAX_ADDRESSES
        ]:
            why = refusal(address, self._allowed) if self._guarded else None
            if why is None:
                allowed.append(address)
            else:
                refused.append((address, why))
        return Resolution("ok" if addresses else "nodata", tuple(allowed), tuple(refused))

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
