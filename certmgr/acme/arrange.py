"""From what somebody typed to a lineage: names, client, account, solver, targets, key, or a CSR of
the client's. An edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from certmgr.acme import cas
from certmgr.acme.challenges.build import challenge_of, find
from certmgr.acme.service import default_name
from certmgr.config.settings import Settings
from certmgr.deploy.lineage import safe_name
from certmgr.x509 import csr as requests_
from inventory.db.database import Database, Tx
from inventory.errors import UsageError
from inventory.names import as_ip, display
from inventory.store import accounts, clients, lineages, purchases
from inventory.text import printable

KEYS = {
    "EC P-256": "ec-p256",
    "EC P-384": "ec-p384",
    "RSA 2048": "rsa-2048",
    "RSA 3072": "rsa-3072",
    "RSA 4096": "rsa-4096",
}


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """Empty: as the configuration says.

    ``csr``: PEM or DER of the client's own. ``key_types``: one lineage each.
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
    shrink: str = ""
    csr: bytes | None = None


def arrange(database: Database, settings: Settings, wanted: IssueRequest) -> list[str]:
    """The names of its lineages; one that is there already with the same names and key is taken as
    it is. Raises :class:`UsageError` and says what is wrong.
    """
    with database.write() as tx:
        return _arranged(tx, settings, wanted)


def _arranged(tx: Tx, settings: Settings, wanted: IssueRequest) -> list[str]:
    request = _request(wanted)
    texts = wanted.names or (request.names if request is not None else ())
    if not texts:
        raise UsageError(
            "Which names?", "", "certmgr issue shop.example.com www.shop.example.com --client 1001"
        )
    who = clients.find(tx.conn, wanted.client or _client_of(tx, texts))
    names, _ = purchases.names_of(tx.conn, who["id"], texts, lineages.MAX_NAMES)
    lineages.require_owned(tx.conn, who, names)
    if request is not None:
        _fits(request, names)
    values = _values(tx, settings, wanted, names)
    key_types = (
        (KEYS[request.key],)
        if request is not None
        else wanted.key_types or (settings.acme.key_type,)
    )
    if len(key_types) > 1 and wanted.lineage:
        raise UsageError(
            "One name cannot be given to two lineages",
            "each kind of key has its own",
            "Leave --lineage out.",
        )
    return [
        _one(tx, who, names, values, kind, wanted, request) for kind in dict.fromkeys(key_types)
    ]


class _Undone(Exception):
    """Ends a transaction that was only tried."""


def check(database: Database, settings: Settings, wanted: IssueRequest) -> list[str]:
    """As :func:`arrange`, and nothing stays."""
    found: list[str] = []
    try:
        with database.write() as tx:
            found = _arranged(tx, settings, wanted)
            raise _Undone
    except _Undone:
        return found


def _request(wanted: IssueRequest) -> requests_.SigningRequest | None:
    if wanted.csr is None:
        return None
    if wanted.reuse_key or wanted.key_types:
        raise UsageError(
            "The key is the client's", "a CSR says which one", "Leave --key and --reuse-key out."
        )
    return requests_.read(wanted.csr, ())


def _fits(request: requests_.SigningRequest, names: Sequence[str]) -> None:
    if request.key not in KEYS:
        raise UsageError(
            f"The CSR's key is {printable(request.key, 40)}",
            f"CAs take {', '.join(KEYS)}",
            "Make another one.",
        )
    if any(code == "csr-signature" for code, _ in request.problems):
        raise UsageError("The CSR is not signed with its key", "", "Make another one.")
    asked = {str(as_ip(n) or n) for n in request.names}
    if asked != set(names):
        odd = ", ".join(display(n) for n in sorted(asked ^ set(names))[:5])
        raise UsageError(
            "The CSR asks for other names",
            odd,
            "A CA issues for the CSR's names and no others (RFC 8555 7.4).",
        )


def _client_of(tx: Tx, texts: Sequence[str]) -> str:
    first = purchases.pattern(texts[0].split(",")[0].strip())
    owner = purchases.owner_of(tx.conn, first.removeprefix("*."))
    if owner is None:
        raise UsageError(
            f"{display(first)} is not in the inventory",
            "a certificate belongs to a client",
            "certmgr domain add NAME --client NUMBER",
        )
    return str(owner["number"])


def _values(
    tx: Tx, settings: Settings, wanted: IssueRequest, names: Sequence[str]
) -> dict[str, Any]:
    acme = settings.acme
    account = wanted.account or acme.default_account or _only_account(tx)
    row = accounts.find(tx.conn, account)
    ca = cas.find(acme, row["ca"], row["directory"])
    if len(names) > ca.max_names:
        raise UsageError(
            f"There are {len(names)} names",
            f"{ca.title} puts at most {ca.max_names} into a certificate",
            "Make several certificates of them.",
        )
    solver = wanted.solver or acme.default_solver
    if not solver:
        raise UsageError(
            "How is control of the names shown?",
            "neither --solver nor [acme] default_solver says it",
            "Write [acme.solver.web] with its kind.",
        )
    check_solver(settings, solver, names)
    targets = acme.default_targets if wanted.targets is None else wanted.targets
    check_targets(settings, targets, own_key=wanted.csr is None)
    return {
        "account_id": row["id"],
        "solver": solver,
        "targets": " ".join(targets),
        "reuse_key": int(wanted.reuse_key),
        "profile": wanted.profile or None,
        "preferred_chain": wanted.chain or None,
        "shrink": wanted.shrink or acme.shrink,
    }


def _only_account(tx: Tx) -> str:
    rows = [r for r in accounts.listing(tx.conn) if r["state"] == "active"]
    if len(rows) == 1:
        return str(rows[0]["name"])
    known = ", ".join(r["name"] for r in rows)
    raise UsageError(
        "With which account?",
        f"there are {known}" if rows else "there is none",
        "Give --account, or make one: certmgr account add letsencrypt.",
    )


def check_solver(settings: Settings, solver: str, names: Sequence[str]) -> None:
    """Raises :class:`UsageError` for names that this way cannot show."""
    challenge = challenge_of(find(settings, solver))
    wild = next((n for n in names if n.startswith("*.")), None)
    if wild is not None and challenge != "dns-01":
        raise UsageError(
            f"{display(wild)} needs dns-01",
            f"the solver '{solver}' does {challenge} (RFC 8555 8.3: no CA takes that for a"
            " wildcard)",
            "Name a solver for the DNS with --solver.",
        )
    address = next((n for n in names if as_ip(n) is not None), None)
    if address is not None and challenge == "dns-01":
        raise UsageError(
            f"{address} cannot be shown by dns-01",
            "an address has no such record (RFC 8738 7)",
            "Name a solver of http-01 or tls-alpn-01 with --solver.",
        )


def check_targets(settings: Settings, targets: Sequence[str], *, own_key: bool = True) -> None:
    for word in targets:
        if word not in settings.acme.places:
            known = ", ".join(sorted(settings.acme.places)) or "none"
            raise UsageError(
                f"There is no target '{printable(word, 60)}'",
                f"the configuration has {known}",
                f"Write [acme.target.{printable(word, 40)}] with its kind.",
            )
        if not own_key and settings.acme.places[word].kind == "pkcs12":
            raise UsageError(
                f"The target '{word}' needs the key", "it is the client's", "Name another target."
            )


def _one(
    tx: Tx,
    who: Any,
    names: Sequence[str],
    values: dict[str, Any],
    key_type: str,
    wanted: IssueRequest,
    request: requests_.SigningRequest | None,
) -> str:
    name = safe_name(wanted.lineage or default_name(list(names), key_type))
    for row in lineages.listing(tx.conn, client_id=who["id"], states=("active", "paused")):
        if (
            {n["name"] for n in row["names"]} == set(names)
            and row["key_type"] == key_type
            and (not wanted.lineage or row["name"] == name)
        ):
            return str(row["name"])
    lineages.add(
        tx,
        name,
        who["number"],
        names,
        values | {"key_type": key_type, "csr": request.pem if request is not None else None},
    )
    return name
