"""Path validation with OpenSSL (X509_verify_cert). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from OpenSSL import crypto

from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificate_signatures import library_verifies
from inventory.certificates import Certificate, parse

NO_ISSUER = 20  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY


@dataclass(frozen=True, slots=True)
class OpensslResult:
    """The result of one validation.

    Attributes:
        path: The accepted path, leaf first and anchor last; None if the chain is refused.
        code: The error code of a refusal (X509_V_ERR); None if OpenSSL cannot read the leaf.
        depth: The position in the path to which the code belongs; 0 is the leaf.
    """

    path: tuple[Certificate, ...] | None
    code: int | None = None
    depth: int = 0


def openssl_path(
    leaf: Certificate,
    others: Sequence[Certificate],
    anchors: Iterable[Certificate],
    at: datetime,
    *,
    partial: bool = False,
) -> OpensslResult:
    """Validate a chain.

    Args:
        leaf: The certificate of the server.
        others: The certificates that may complete the path.
        anchors: The trust anchors.
        at: The time of the validation.
        partial: Whether a path may end at an anchor that is not self-signed.
    """
    chain = [leaf, *others]
    used_anchors = _usable(anchors, chain)
    others = _usable(others, chain)
    # Each validation has a separate store: a store keeps the first time that it is given
    # (X509_VERIFY_PARAM_set1 does not overwrite it), so later chains would be judged at that time.
    store = crypto.X509Store()
    store.set_time(at)
    if partial:
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for anchor in used_anchors:
        if (loaded := _load(anchor)) is not None:
            store.add_cert(loaded)
    subject = _load(leaf)
    if subject is None:
        return OpensslResult(None)
    untrusted = [x for x in map(_load, others) if x is not None]
    try:
        accepted = crypto.X509StoreContext(store, subject, untrusted).get_verified_chain()
    except crypto.X509StoreContextError as error:
        return OpensslResult(None, int(error.errors[0]), int(error.errors[1]))
    except (crypto.Error, *PARSE_ERRORS):
        return OpensslResult(None)
    known = {c.der: c for c in (*used_anchors, *others, leaf)}
    path = []
    for certificate in accepted:
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        path.append(known.get(der) or parse(der))
    # OpenSSL also takes a TeletexString for the same text in another type, and browsers do not.
    if any(a.issuer_key != b.subject_key for a, b in pairwise(path)):
        return OpensslResult(None, NO_ISSUER)
    # Chrome finds an anchor of the user by its encoded name, as Firefox finds every issuer.
    if len(path) > 1 and path[-2].issuer_der != path[-1].subject_der:
        return OpensslResult(None, NO_ISSUER)
    return OpensslResult(tuple(path))


def _load(certificate: Certificate) -> crypto.X509 | None:
    """Return a certificate for OpenSSL; None if OpenSSL cannot read it."""
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, certificate.der)
    except (crypto.Error, *PARSE_ERRORS):
        return None


def _usable(
    candidates: Iterable[Certificate], chain: Sequence[Certificate]
) -> tuple[Certificate, ...]:
    """Return the candidates that are part of the chain, or may have issued a part of it.

    OpenSSL chooses an issuer by its name, and tries no other one if the signature is wrong. So a
    candidate with the right name and another key (a CA that has changed its key) is left out.
    """
    present = {c.sha256 for c in chain}
    by_issuer: dict[bytes, list[Certificate]] = {}
    for certificate in chain:
        by_issuer.setdefault(certificate.issuer_key, []).append(certificate)
    usable = []
    for candidate in candidates:
        if candidate.parsed is None:
            continue
        children = by_issuer.get(candidate.subject_key, [])
        children = [c for c in children if c.sha256 != candidate.sha256]
        if children:
            if not all(_wrong_key(c, candidate) for c in children):
                usable.append(candidate)
        elif candidate.sha256 in present:
            usable.append(candidate)
    return tuple(usable)


def _wrong_key(child: Certificate, issuer: Certificate) -> bool:
    """Return whether the signature of ``child`` certainly is not that of ``issuer``."""
    return library_verifies(child, issuer) is False and not child.repaired
