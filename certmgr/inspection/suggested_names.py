"""Host names that a domain usually has: the apex, www, mail. Proposed only if they resolve."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from certmgr.scan.resolve import Resolver
from inventory.names import registered_domain


def related(host: str) -> list[str]:
    """Return the other usual names of the host's registered domain. Pure."""
    apex = registered_domain(host)
    return [n for n in (apex, f"www.{apex}", f"mail.{apex}") if n != host]


def resolving(names: Sequence[str], servers: Sequence[str] = ()) -> list[str]:
    """Return those of ``names`` that have an address now.

    The queries take a few seconds at most. If the resolver fails, nothing is proposed.
    """

    async def resolve_all() -> list[str]:
        # One try and a short time-out, since a suggestion must not delay the command.
        # Not guarded: only whether a name has an address counts, and none is contacted.
        resolver = Resolver(servers=servers, guarded=False, timeout=1.0, tries=1)
        try:
            answers = await asyncio.gather(*[resolver.resolve(n, 443) for n in names])
        finally:
            await resolver.close()
        return [n for n, answer in zip(names, answers, strict=True) if answer.addresses]

    return asyncio.run(resolve_all())
