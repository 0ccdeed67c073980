"""Certificates that depend on a key, such as the stolen key of a CA.

A key is named by the SHA-256 of its SubjectPublicKeyInfo. It may be that of a root, of an
intermediate, or of the certificates themselves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from certmgr.config.context import Context
from certmgr.inspection.trust_ends import StoredTrust
from certmgr.x509.anchors import MAX_PATH
from certmgr.x509.trust import TrustStore
from certmgr.x509.trust_data import load_rules, rules_path
from certmgr.x509.trust_rules import normalised_hash, spki_sha256
from certmgr.x509.trust_until import PathFinder
from inventory.certificate_fields import PARSE_ERRORS
from inventory.certificates import Certificate, from_pem, parse
from inventory.errors import UsageError
from inventory.store import certificates, incidents
from inventory.text import printable

# Lists of CA keys are short. The limit bounds the time that a wrong file can take.
MAX_KEYS = 10_000
_MARK = re.compile(r"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----")
_HEADERS = frozenset({"spki", "spki_sha256", "sha256", "key"})


def read_keys(text: str) -> tuple[list[str], list[str]]:
    """Parse a list of public keys.

    Accepted are one SHA-256 per line (hexadecimal with or without colons, or base64 as in
    ``sha256/...``; further CSV columns and comments are ignored), and PEM blocks of certificates
    or public keys.

    Returns:
        The SHA-256 of the keys in hexadecimal, and what could not be read.

    Raises:
        UsageError: The list is too long.
    """
    keys: dict[str, None] = {}
    invalid, position, outside = [], 0, []
    for number, (label, start, end) in enumerate(_pem_blocks(text), 1):
        outside.append(text[position:start])
        position = end
        key = _key_of_pem(text[start:end], label)
        if key:
            keys[key] = None
        else:
            invalid.append(f"PEM block {number}: '{printable(label, 40)}'")
    outside.append(text[position:])
    for number, line in enumerate("".join(outside).splitlines(), 1):
        cell = re.split(r"[,;\t ]", line.strip())[0].strip("\"'")
        # Blank lines, comments and the header of a CSV file contain no key.
        if not cell or cell.startswith("#") or (number == 1 and cell.lower() in _HEADERS):
            continue
        digest = normalised_hash(cell)
        if digest is None:
            invalid.append(f"line {number}: '{printable(cell, 80)}'")
        else:
            keys[digest] = None
        if len(keys) > MAX_KEYS:
            raise UsageError(
                "There are too many keys", f"the limit is {MAX_KEYS:,}", "Split the file."
            )
    return list(keys), invalid


def _pem_blocks(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the label, the start and the end of each complete PEM block, in linear time."""
    marks = [(m[1], m[2], m.start(), m.end()) for m in _MARK.finditer(text)]
    ends: dict[str, list[tuple[int, int]]] = {}
    for kind, label, start, end in reversed(marks):
        if kind == "END":
            ends.setdefault(label, []).append((start, end))
    position = 0
    for kind, label, start, end in marks:
        if kind == "END" or start < position:
            continue
        # The last one is the next: each is dropped once, however many BEGINs have no END.
        later = ends.get(label, [])
        while later and later[-1][0] < end:
            later.pop()
        if later:
            position = later[-1][1]
            yield label, start, position


def _key_of_pem(block: str, label: str) -> str:
    """Return the SHA-256 of the key in a PEM block; empty if it has none that can be read."""
    if label.endswith("CERTIFICATE"):
        certificates = from_pem(block.encode("ascii", "replace"))
        return spki_sha256(certificates[0]) if certificates else ""
    # A private key is refused too: its public half is all that is needed here.
    if label != "PUBLIC KEY":
        return ""
    try:
        key = load_pem_public_key(block.encode("ascii", "replace"))
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except PARSE_ERRORS:
        return ""
    return hashlib.sha256(der).hexdigest()


@dataclass(slots=True)
class DependentCertificates:
    """The served certificates that depend on blocked keys.

    Attributes:
        leaves: The SHA-256 of the leaves that have no path without such a key.
        spared: The leaves that have another path too, so that browsers go on trusting them.
        found: The keys that at least one certificate of the inventory depends on.
    """

    leaves: set[str] = field(default_factory=set)
    spared: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)


def depending_on(context: Context, keys: Collection[str]) -> DependentCertificates:
    """Return the certificates in use that depend on keys. Nothing is sent or changed."""
    blocked, result = frozenset(keys), DependentCertificates()
    trust = context.settings.trust
    store = TrustStore.load(trust.store, trust.ca_files)
    with context.read() as conn:
        stored = StoredTrust(conn, store, load_rules(rules_path(trust.rules)))
        # Private CAs have keys too, so their roots end paths like public ones.
        anchors = PathFinder.of(store.anchors.values(), stored.finder.issuers)
        # A certificate that no scan has seen, since the server has another one for other clients.
        chains = [(c.leaf, c.issuer, c.chain) for c in stored.chains()]
        chains += [(h.sha256, h.issuer, h.chain) for h in incidents.held(conn)]
        ders = certificates.ders(conn, sorted({sha256 for sha256, _, _ in chains}))
        shared: dict[tuple[str, tuple[str, ...]], list[frozenset[str]]] = {}
        for sha256, issuer, sent in chains:
            leaf = parse(ders[sha256])
            own = blocked & {spki_sha256(leaf)}
            # Leaves of one issuer with the same served intermediates have the same paths. Finding
            # paths is what takes the time.
            group = (issuer, sent[1:])
            if group not in shared:
                # The server chooses how many certificates it sends, hence the limit.
                served = [stored.authorities[s] for s in group[1][:32] if s in stored.authorities]
                shared[group] = _paths(leaf, served, anchors)
            hits = [blocked & path for path in shared[group]]
            result.found |= own.union(*hits)
            # One path without a blocked key is enough for browsers.
            if own or (hits and all(hits)):
                result.leaves.add(sha256)
            elif any(hits):
                result.spared.add(sha256)
    # A leaf that is served with several chains is affected if one of them is.
    result.spared -= result.leaves
    return result


def _paths(
    leaf: Certificate, served: list[Certificate], anchors: PathFinder
) -> list[frozenset[str]]:
    """Return the keys of the issuers, one set per path."""
    paths = anchors.paths(leaf, served)
    if paths:
        return [frozenset(spki_sha256(c) for c in path[1:]) for path in paths]
    # Without a known root, all issuers that can be reached count as one path.
    reached: dict[str, Certificate] = {}
    waiting = [leaf]
    # A path that is longer than this is not accepted by the verifiers either.
    for _ in range(MAX_PATH):
        issuers = [i for c in waiting for i in anchors.issuers_of(c, served)]
        waiting = [i for i in dict.fromkeys(issuers) if i.sha256 not in reached]
        reached |= {i.sha256: i for i in waiting}
    return [frozenset(spki_sha256(c) for c in reached.values())] if reached else []
