"""Is what the CA sent what was asked for? And which of its chains is taken.

Pure; the CA's bytes are as hostile as any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from certmgr.x509.csr import spki
from inventory.certificates import PARSE_ERRORS, Certificate, from_pem, issued_by, self_signed
from inventory.errors import CertmgrError
from inventory.names import as_ip, display
from inventory.text import printable

MAX_CHAIN = 10
SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class IssuedChain:
    """Leaf first, each issued by the next; a root is left out."""

    certificates: tuple[Certificate, ...]

    @property
    def leaf(self) -> Certificate:
        return self.certificates[0]

    @property
    def top(self) -> str:
        """The common name of the issuer of its last certificate, by which chains are chosen."""
        issuer = self.certificates[-1].issuer
        parts = dict(p.split("=", 1) for p in reversed(issuer.split(", ")) if "=" in p)
        return parts.get("CN", "") or issuer


def read(pem: bytes, public_key: str, names: Sequence[str], now: datetime) -> IssuedChain:
    """``public_key``: digest of the CSR's (certmgr.x509.csr.spki).

    Raises :class:`CertmgrError`, which says what is wrong with it.
    """
    try:
        found = from_pem(pem)
    except ValueError as error:
        raise _wrong(f"it is no certificate chain: {printable(str(error), 100)}") from None
    if len(found) > MAX_CHAIN:
        raise _wrong(f"it has {len(found)} certificates, the limit is {MAX_CHAIN}")
    if any(c.parsed is None for c in found):
        raise _wrong("one of its certificates cannot be parsed")
    leaf = next((c for c in found if _key(c) == public_key), None)
    if leaf is None:
        raise _wrong("its leaf is for another key than the CSR's")
    _names(leaf, names)
    _dates(leaf, now)
    return IssuedChain(_ordered(leaf, [c for c in found if c is not leaf]))


class ClockFault(CertmgrError):
    """Its dates do not fit this machine's clock."""


def _wrong(why: str) -> CertmgrError:
    return CertmgrError(
        "The certificate that the CA sent is not used",
        why,
        "What is live stays as it is; it is tried again with a new order.",
    )


def _key(certificate: Certificate) -> str:
    try:
        return spki(certificate.parsed.public_key()) if certificate.parsed is not None else ""
    except PARSE_ERRORS:
        return ""


def _names(leaf: Certificate, names: Sequence[str]) -> None:
    have, want = set(leaf.names), {str(as_ip(n) or n) for n in names}
    if missing := sorted(want - have):
        raise _wrong(f"it lacks {', '.join(display(n) for n in missing[:10])}")
    if extra := sorted(have - want):
        raise _wrong(
            "it has names that were not asked for:"
            f" {', '.join(printable(n, 100) for n in extra[:10])}"
        )


def _dates(leaf: Certificate, now: datetime) -> None:
    if leaf.not_before is None or leaf.not_after is None:
        raise _wrong("its dates cannot be read")
    if leaf.not_before > now + SKEW:
        raise _late(
            f"it begins at {leaf.not_before:%Y-%m-%d %H:%M} UTC, and here it is"
            f" {now:%Y-%m-%d %H:%M}: check the clock of this machine"
        )
    if leaf.not_after <= now:
        raise _late(
            f"it ended at {leaf.not_after:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M}:"
            " check the clock of this machine"
        )


def _late(why: str) -> ClockFault:
    return ClockFault(
        "The certificate that the CA sent is not used",
        why,
        "The order is kept, and gone on with when the clock is right.",
    )


def _ordered(leaf: Certificate, others: list[Certificate]) -> tuple[Certificate, ...]:
    """In the order in which a server sends them, whatever the order was; what belongs to no path,
    and a root, is left out.
    """
    path = [leaf]
    while (
        above := next((c for c in others if c not in path and issued_by(path[-1], c)), None)
    ) is not None:
        path.append(above)
    if len(path) == 1 and others:
        raise _wrong("none of the certificates that came with it issued it")
    return tuple(c for i, c in enumerate(path) if i == 0 or not self_signed(c))


def choose(chains: Sequence[IssuedChain], preferred: str | None) -> tuple[IssuedChain, str]:
    """(the chain whose top has ``preferred`` in its name, else the CA's own, why).

    ``chains``: the CA's own first.
    """
    if not preferred:
        return chains[0], ""
    for chain in chains:
        if preferred.lower() in chain.top.lower():
            return chain, ""
    offered = ", ".join(dict.fromkeys(printable(c.top, 60) for c in chains))
    return chains[0], f"the CA offers no chain to '{printable(preferred, 60)}', only to: {offered}"
