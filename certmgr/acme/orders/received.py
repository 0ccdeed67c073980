"""Verification that an issued certificate matches the request, and selection of its chain.

Pure. The bytes of a CA are untrusted input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from certmgr.x509.csr import spki
from certmgr.x509.names import name_covers
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificate_signatures import issued_by, self_signed
from inventory.certificates import Certificate, from_pem
from inventory.errors import CertmgrError
from inventory.names import as_ip, display
from inventory.text import printable

# Public chains have two to four certificates. A limit keeps the search for a path short.
MAX_CHAIN = 10
# CAs date certificates up to an hour back, so that slow clocks accept them; the same is tolerated
# in the other direction.
CLOCK_TOLERANCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class IssuedChain:
    """A certificate chain without its root: the leaf first, each issued by the next.

    ``remark`` states how the names of the leaf differ from the requested ones.
    """

    certificates: tuple[Certificate, ...]
    remark: str = ""

    @property
    def leaf(self) -> Certificate:
        """The first certificate."""
        return self.certificates[0]

    @property
    def top(self) -> str:
        """The common name of the issuer of the last certificate, by which chains are chosen."""
        issuer = self.certificates[-1].issuer
        parts = dict(p.split("=", 1) for p in reversed(issuer.split(", ")) if "=" in p)
        return parts.get("CN", "") or issuer


def read(
    pem: bytes,
    public_key: str,
    names: Sequence[str],
    now: datetime,
    is_own: Callable[[str], bool] = lambda _: False,
) -> IssuedChain:
    """Parse a chain and check it against the request.

    Args:
        pem: The CA's answer.
        public_key: The digest of the CSR's public key (certmgr.x509.csr.spki).
        names: The requested names.
        now: The current time.
        is_own: Whether a name that was not requested belongs to the client of the lineage.

    Raises:
        ClockFault: The certificate is not valid now.
        CertmgrError: The certificate does not match the request.
    """
    try:
        certificates = from_pem(pem)
    except ValueError as error:
        raise _rejected(f"it is not a certificate chain: {printable(str(error), 100)}") from None
    if len(certificates) > MAX_CHAIN:
        raise _rejected(f"it has {len(certificates)} certificates, the limit is {MAX_CHAIN}")
    if any(c.parsed is None for c in certificates):
        raise _rejected("one of its certificates cannot be parsed")
    # The leaf is found by its key, because the order of the chain is not trusted.
    leaf = next((c for c in certificates if _key(c) == public_key), None)
    if leaf is None:
        raise _rejected("its leaf has another key than the CSR")
    remark = _check_names(leaf, names, is_own)
    _check_dates(leaf, now)
    return IssuedChain(_sorted_chain(leaf, [c for c in certificates if c is not leaf]), remark)


class ClockFault(CertmgrError):
    """The dates of the certificate contradict the clock of this machine."""


def _rejected(why: str) -> CertmgrError:
    return CertmgrError(
        "The certificate that the CA sent is not used",
        why,
        "The current certificate stays in use; a new order is placed later.",
    )


def _key(certificate: Certificate) -> str:
    try:
        return spki(certificate.parsed.public_key()) if certificate.parsed is not None else ""
    except PARSE_ERRORS:
        return ""


def _check_names(leaf: Certificate, names: Sequence[str], is_own: Callable[[str], bool]) -> str:
    """Compare the names of a certificate with the requested ones.

    Returns:
        A remark about a difference that does no harm; empty without one.
    """
    have, want = set(leaf.names), {str(as_ip(n) or n) for n in names}
    # Some CAs leave out a name that a wildcard of the same certificate covers. A name that nothing
    # covers would break a site.
    # An address that is written as a DNS name covers nothing (RFC 9525 6.5), in no browser.
    if missing := sorted(
        w
        for w in want
        if not (any(name_covers(h, w) for h in have) if as_ip(w) is None else w in leaf.ip_names)
    ):
        raise _rejected(f"it lacks {', '.join(display(n) for n in missing[:10])}")
    # Some CAs add www, or the name without it. A name of another client, or of a domain that the
    # inventory does not have, would certify a stranger's site.
    extra = sorted(have - want)
    if foreign := [n for n in extra if not is_own(n)]:
        raise _rejected(
            "it has names that were not requested:"
            f" {', '.join(printable(n, 100) for n in foreign[:10])}"
        )
    remarks = []
    if extra:
        remarks.append(f"the CA added {', '.join(display(n) for n in extra[:10])}")
    if left_out := sorted(want - have):
        remarks.append(
            f"the CA left out {', '.join(display(n) for n in left_out[:10])}, which another of its"
            " names covers"
        )
    return "; ".join(remarks)


def _check_dates(leaf: Certificate, now: datetime) -> None:
    if leaf.not_before is None or leaf.not_after is None:
        raise _rejected("its dates cannot be read")
    # A start in the future means that the clock of this machine is slow.
    if leaf.not_before > now + CLOCK_TOLERANCE:
        raise _clock_fault(
            f"it is valid from {leaf.not_before:%Y-%m-%d %H:%M} UTC, and the clock of this machine"
            f" shows {now:%Y-%m-%d %H:%M} UTC"
        )
    if leaf.not_after <= now:
        raise _clock_fault(
            f"it expired at {leaf.not_after:%Y-%m-%d %H:%M} UTC, and the clock of this machine"
            f" shows {now:%Y-%m-%d %H:%M} UTC"
        )


def _clock_fault(why: str) -> ClockFault:
    return ClockFault(
        "The certificate that the CA sent is not used",
        why,
        "Check the clock of this machine. The order is continued when the clock is right.",
    )


def _sorted_chain(leaf: Certificate, others: list[Certificate]) -> tuple[Certificate, ...]:
    """Return the path from the leaf in the order in which a server sends it.

    The root and certificates outside the path are left out.
    """
    # Servers must send each certificate directly before the one that certifies it (RFC 5246 7.4.2;
    # RFC 8446 4.4.2 recommends it), and some clients still need that order.
    path = [leaf]
    while (
        above := next((c for c in others if c not in path and issued_by(path[-1], c)), None)
    ) is not None:
        path.append(above)
    if len(path) == 1 and others:
        raise _rejected("none of the certificates of the chain issued it")
    return tuple(c for i, c in enumerate(path) if i == 0 or not self_signed(c))


def choose(chains: Sequence[IssuedChain], preferred: str | None) -> tuple[IssuedChain, str]:
    """Return the chain whose top has ``preferred`` in its name, else the CA's default chain.

    Args:
        chains: The chains, the CA's default chain first.
        preferred: Part of a common name; None for the default chain.

    Returns:
        The chain, and the reason if it is not the preferred one.
    """
    if not preferred:
        return chains[0], ""
    for chain in chains:
        if preferred.lower() in chain.top.lower():
            return chain, ""
    offered = ", ".join(dict.fromkeys(printable(c.top, 60) for c in chains))
    return chains[0], f"the CA offers no chain to '{printable(preferred, 60)}', only to: {offered}"
