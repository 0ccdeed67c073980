"""Arguments of ``certmgr issue`` to lineages: names, client, account, solver, targets and key, or
the client's CSR.

This module performs I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from certmgr.acme import cas
from certmgr.acme.challenges.build import find
from certmgr.acme.challenges.kinds import challenge_of
from certmgr.acme.challenges.persist import CHALLENGE
from certmgr.acme.requested_names import default_name, redundancy
from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.deploy.lineage import safe_name
from certmgr.x509 import csr as requests_
from inventory.db.database import Tx
from inventory.errors import UsageError
from inventory.names import as_ip, certificate_name, display
from inventory.records import ClientRecord
from inventory.store import accounts, clients, domain_owners, lineage_names, lineages
from inventory.text import printable
from notifiers.wording.cases import UPLOAD_MESSAGES, filled

# Keys that publicly trusted CAs may certify: RSA of at least 2048 bits, P-256 and P-384 (Baseline
# Requirements 6.1.5).
KEY_TYPES_BY_NAME = {
    "EC P-256": "ec-p256",
    "EC P-384": "ec-p384",
    "RSA 2048": "rsa-2048",
    "RSA 3072": "rsa-3072",
    "RSA 4096": "rsa-4096",
}


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """The arguments of ``certmgr issue``. An empty value stands for that of the configuration.

    Attributes:
        names: The names of the certificate; empty for those of the CSR.
        client: The number of the client; empty for the owner of the first name.
        lineage: The name of the lineage; empty for its first name.
        account: The account at the CA.
        solver: The solver for domain control validation.
        targets: The deployment targets.
        key_types: The key types. Each becomes a separate lineage.
        reuse_key: Whether renewals keep the key.
        profile: The CA's certificate profile.
        chain: The common name by which a chain is preferred.
        on_failed_name: Whether a quarantined name is left out automatically (auto) or after
            approval (ask).
        csr: The client's CSR, as PEM or DER.
    """

    names: tuple[str, ...]
    client: str = ""
    lineage: str = ""
    account: str = ""
    solver: str = ""
    targets: tuple[str, ...] | None = None
    key_types: tuple[str, ...] = ()
    reuse_key: bool = False
    profile: str = ""
    chain: str = ""
    on_failed_name: str = ""
    csr: bytes | None = None


def arrange(context: Context, request: IssueRequest) -> list[str]:
    """Create the lineages of a request.

    An active lineage with the same names and key type is used instead of a new one.

    Returns:
        The names of the lineages.

    Raises:
        UsageError: A name, the client, the account, the solver, a target or the CSR is invalid.
    """
    with context.write() as tx:
        return _arrange(tx, context.settings, request)


def _arrange(tx: Tx, settings: Settings, request: IssueRequest) -> list[str]:
    csr = _read_csr(request)
    texts = request.names or (csr.names if csr is not None else ())
    if not texts:
        raise UsageError(
            "No names were given",
            "",
            "certmgr issue shop.example.com www.shop.example.com --client 1001",
        )
    client = clients.find(tx.conn, request.client or _client_of(tx, texts))
    names, _ = domain_owners.names_of(tx.conn, client.id, texts, lineage_names.MAX_NAMES)
    # A client never gets a certificate for another client's name.
    lineage_names.require_owned(tx.conn, client, names)
    if csr is not None:
        _check_csr(csr, names)
    values = _values(tx, settings, request, names)
    key_types = (
        (KEY_TYPES_BY_NAME[csr.key],)
        if csr is not None
        else request.key_types or (settings.acme.key_type,)
    )
    if len(key_types) > 1 and request.lineage:
        raise UsageError(
            "One name cannot be given to two lineages",
            "each key type has a separate lineage",
            "Leave out --lineage.",
        )
    return [
        _ensure_lineage(tx, client, names, values, kind, request, csr)
        for kind in dict.fromkeys(key_types)
    ]


def remarks(request: IssueRequest) -> str:
    """Return in words what a CA may object to in the names of a valid request."""
    csr = _read_csr(request)
    texts = request.names or (csr.names if csr is not None else ())
    return redundancy(certificate_name(t) for t in texts)


def csr_remarks(request: IssueRequest) -> list[str]:
    """Return in words what does not prevent an order with the client's CSR, but should be known."""
    csr = _read_csr(request)
    problems = csr.problems if csr is not None else ()
    # Names are compared with the request, which refuses a difference.
    return [
        filled(UPLOAD_MESSAGES[code], values)
        for code, values in problems
        if code in ("csr-outdated", "csr-key-sent")
    ]


# A dry run takes the same path as the real one, so that both find the same obstacles.
class _DryRun(Exception):
    """Rolls the transaction of a dry run back."""


def check(context: Context, request: IssueRequest) -> list[str]:
    """Return what :func:`arrange` would return, and change nothing."""
    names: list[str] = []
    try:
        with context.write() as tx:
            names = _arrange(tx, context.settings, request)
            raise _DryRun
    except _DryRun:
        return names


def _read_csr(request: IssueRequest) -> requests_.SigningRequest | None:
    if request.csr is None:
        return None
    # With a CSR the key and its type are decided by the client, who alone has it.
    if request.reuse_key or request.key_types:
        raise UsageError(
            "--key and --reuse-key do not apply to a CSR",
            "the client holds the key",
            "Leave out --key and --reuse-key.",
        )
    return requests_.read(request.csr, ())


def _check_csr(csr: requests_.SigningRequest, names: Sequence[str]) -> None:
    """Raise :class:`UsageError` if a CA would refuse the CSR for these names."""
    if csr.key not in KEY_TYPES_BY_NAME:
        raise UsageError(
            f"The CSR's key is {printable(csr.key, 40)}",
            f"CAs accept {', '.join(KEY_TYPES_BY_NAME)}",
            "Create another CSR.",
        )
    # The signature proves that the client has the key (RFC 2986 4.2); a CA refuses a CSR without
    # it.
    if any(code == "csr-signature" for code, _ in csr.problems):
        raise UsageError("The CSR is not signed with its key", "", "Create another CSR.")
    requested = {str(as_ip(n) or n) for n in csr.names}
    if requested != set(names):
        difference = ", ".join(display(n) for n in sorted(requested ^ set(names))[:5])
        raise UsageError(
            "The CSR has other names than the request",
            difference,
            "A CA issues exactly for the names of the CSR (RFC 8555 7.4).",
        )


def _client_of(tx: Tx, texts: Sequence[str]) -> str:
    first = certificate_name(texts[0].split(",")[0].strip())
    # A certificate is issued for the owner of its names only. The first name decides, and all
    # others must belong to the same client.
    owner = domain_owners.owner_of(tx.conn, first.removeprefix("*."))
    if owner is None:
        raise UsageError(
            f"{display(first)} is not in the inventory",
            "a certificate belongs to a client",
            "certmgr domain add NAME --client NUMBER",
        )
    return str(owner.number)


def _values(
    tx: Tx, settings: Settings, request: IssueRequest, names: Sequence[str]
) -> dict[str, Any]:
    acme = settings.acme
    # Without an explicit or default account, the only account is unambiguous.
    account = request.account or acme.default_account or _only_account(tx)
    row = accounts.find(tx.conn, account)
    ca = cas.find(acme, row.ca, row.directory)
    # A CA would refuse the order, so it is refused before anything is recorded.
    if len(names) > ca.max_names:
        raise UsageError(
            f"{len(names)} names are too many for one certificate",
            f"{ca.title} allows at most {ca.max_names}",
            "Split them into several certificates.",
        )
    solver = request.solver or acme.default_solver
    if not solver:
        raise UsageError(
            "There is no solver for domain control validation",
            "neither --solver nor [acme] default_solver names one",
            "Write [acme.solver.web] with its kind.",
        )
    check_solver(settings, solver, names)
    # An empty list is a decision for no target; only a missing one takes the default.
    targets = acme.default_targets if request.targets is None else request.targets
    check_targets(settings, targets, own_key=request.csr is None)
    return {
        "account_id": row.id,
        "solver": solver,
        "targets": tuple(targets),
        "reuse_key": int(request.reuse_key),
        "profile": request.profile or None,
        "preferred_chain": request.chain or None,
        "shrink": request.on_failed_name or acme.on_failed_name,
    }


def _only_account(tx: Tx) -> str:
    """Return the name of the account if there is exactly one."""
    rows = [r for r in accounts.listing(tx.conn) if r.state == "active"]
    if len(rows) == 1:
        return str(rows[0].name)
    known = ", ".join(r.name for r in rows)
    raise UsageError(
        "No account was given",
        f"there are several: {known}" if rows else "there is none in the inventory",
        "Give --account, or create an account: certmgr account add letsencrypt.",
    )


def check_solver(settings: Settings, solver: str, names: Sequence[str]) -> None:
    """Raise :class:`UsageError` if the solver's challenge cannot validate a name."""
    # A CA would refuse these combinations after the order, so they are refused before it.
    challenge = challenge_of(find(settings, solver))
    wild = next((n for n in names if n.startswith("*.")), None)
    if wild is not None and challenge not in ("dns-01", CHALLENGE):
        raise UsageError(
            f"{display(wild)} needs dns-01",
            f"the solver '{solver}' uses {challenge}, which CAs do not accept for a wildcard (RFC"
            " 8555 8.3)",
            "Name a dns-01 solver with --solver.",
        )
    address = next((n for n in names if as_ip(n) is not None), None)
    if address is not None and challenge in ("dns-01", CHALLENGE):
        raise UsageError(
            f"{address} cannot be validated by {challenge}",
            "this challenge does not exist for addresses (RFC 8738 7)",
            "Name an http-01 or tls-alpn-01 solver with --solver.",
        )


def check_targets(settings: Settings, targets: Sequence[str], *, own_key: bool = True) -> None:
    """Raise :class:`UsageError` for a target that is not configured, or that needs a missing key.

    Args:
        settings: The configuration.
        targets: The names of targets.
        own_key: Whether the key is here; False if the client holds it.
    """
    for target in targets:
        if target not in settings.acme.targets:
            known = ", ".join(sorted(settings.acme.targets)) or "none"
            raise UsageError(
                f"There is no target '{printable(target, 60)}'",
                f"the configuration has {known}",
                f"Write [acme.target.{printable(target, 40)}] with its kind.",
            )
        # A PKCS#12 file contains the private key.
        if not own_key and settings.acme.targets[target].kind == "pkcs12":
            raise UsageError(
                f"The target '{target}' needs the private key",
                "the client holds it",
                "Name another target.",
            )


def _ensure_lineage(
    tx: Tx,
    client: ClientRecord,
    names: Sequence[str],
    values: dict[str, Any],
    key_type: str,
    request: IssueRequest,
    csr: requests_.SigningRequest | None,
) -> str:
    """Return the name of the lineage with these names and key type, created if necessary."""
    name = safe_name(request.lineage or default_name(list(names), key_type))
    for row in lineages.listing(tx.conn, client_id=client.id, states=("active", "paused")):
        if (
            # The same names and key type as an active lineage: a second lineage would order the
            # same certificate twice, and count twice against the limit per set of names.
            {n.name for n in row.names} == set(names)
            and row.key_type == key_type
            and (not request.lineage or row.name == name)
        ):
            return str(row.name)
    lineages.add(
        tx,
        name,
        client.number,
        names,
        values | {"key_type": key_type, "csr": csr.pem if csr is not None else None},
    )
    return name
