"""Names that usually belong to a domain: the apex, www, mail. Proposed only where they resolve."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from certmgr.scan.resolve import Resolver
from inventory.names import registered_domain


def related(host: str) -> list[str]:
    """The other usual names of the host's registered domain. Pure."""
    apex = registered_domain(host)
    return [n for n in (apex, f"www.{apex}", f"mail.{apex}") if n != host]


def resolving(names: Sequence[str], servers: Sequence[str] = ()) -> list[str]:
    """Those of ``names`` that have an address now.

    Takes at most a few seconds; a resolver that fails proposes nothing.
    """

    async def ask() -> list[str]:
        resolver = Resolver(servers=servers, guarded=False, timeout=1.0, tries=1)
        try:
            answers = await asyncio.gather(*[resolver.resolve(n, 443) for n in names])
        finally:
            await resolver.close()
        return [n for n, answer in zip(names, answers, strict=True) if answer.addresses]

    return asyncio.run(ask())
