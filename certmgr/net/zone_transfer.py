"""Zone transfers (AXFR, RFC 5936) signed with TSIG (RFC 8945), within bounds of time and size."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig

from certmgr.net.tsig_failures import tsig_failure
from inventory.errors import CertmgrError
from inventory.text import printable

# An ordinary zone has some thousand records. The names stay in memory during the transfer.
MAX_RECORDS = 2_000_000
MAX_NAMES = 64 << 20  # bytes of all names
# A name without any of these has no server. An HTTPS record in AliasMode stands for an alias at the
# apex, where CNAME is not allowed (RFC 9460 2.4.2).
_HOST_TYPES = (
    dns.rdatatype.A,
    dns.rdatatype.AAAA,
    dns.rdatatype.CNAME,
    dns.rdatatype.HTTPS,
)
_ALLOWED = (
    "Check that the server has the zone, and allows transfers with this TSIG key (allow-transfer)."
)
_ANSWERS = {
    dns.rcode.REFUSED: "the server does not allow the transfer (REFUSED)",
    dns.rcode.NOTAUTH: "the server does not have the zone (NOTAUTH)",
    dns.rcode.SERVFAIL: "the server has no current copy of the zone (SERVFAIL)",
}


def host_names(zone: str, host: str, port: int, key: dns.tsig.Key, timeout: float) -> Iterator[str]:
    """Yield the name of each address, alias and HTTPS record of a zone, in lower case, once.

    Args:
        zone: The name of the zone.
        host: The address of the name server.
        port: Its port.
        key: The key that signs the request and every answer.
        timeout: Seconds for the whole transfer.

    Raises:
        CertmgrError: The server refuses the transfer, or it did not end within the bounds.
    """
    seen: set[str] = set()
    records = size = 0
    origin = dns.name.from_text(zone)
    end = monotonic() + timeout
    try:
        transfer: Iterator[dns.message.Message] = dns.query.xfr(
            host,
            zone,
            port=port,
            timeout=timeout,
            # `timeout` applies to each message, so a slow server would never exceed it.
            lifetime=timeout,
            keyring={key.name: key},
            keyname=key.name,
            keyalgorithm=key.algorithm,
            # By default, dnspython cuts the name of the zone off the other names.
            relativize=False,
        )
        for message in transfer:
            # dnspython checks the time only while it waits, and not if the server sends quickly.
            if monotonic() > end:
                raise _failed(zone, host, "it did not end in time")
            for rrset in message.answer:
                records += len(rrset)
                if records > MAX_RECORDS:
                    raise _failed(zone, host, f"it has more than {MAX_RECORDS:,} records")
                name = rrset.name.to_text(omit_final_dot=True).lower()
                # A server of a zone must not add names of others: those of another client.
                if not rrset.name.is_subdomain(origin):
                    why = f"it contains {printable(name, 253)}, which is outside of the zone"
                    raise _failed(zone, host, why, "Correct the zone on its name server.")
                if rrset.rdtype in _HOST_TYPES and name not in seen:
                    size += len(name)
                    if size > MAX_NAMES:
                        raise _failed(zone, host, f"its names have more than {MAX_NAMES >> 20} MB")
                    seen.add(name)
                    yield name
    except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
        reason, action = tsig_failure(error) or (_reason(error), _ALLOWED)
        raise _failed(zone, host, reason, action) from None


def _failed(zone: str, host: str, why: str, action: str = _ALLOWED) -> CertmgrError:
    return CertmgrError(
        f"The zone {printable(zone, 253)} was not transferred from {printable(host, 80)}",
        why,
        f"{action} Nothing was imported.",
    )


def _reason(error: Exception) -> str:
    """Return in words why a transfer failed."""
    match error:
        case dns.exception.Timeout() | TimeoutError():
            return "it did not end in time"
        case dns.query.TransferError():
            answer = dns.rcode.to_text(error.rcode)
            return _ANSWERS.get(error.rcode, f"the server answers {answer}")
        case OSError():
            return error.strerror or "the connection failed"
        case _:
            return f"its answer cannot be read ({type(error).__name__})"
