"""One order, led from the intent to the certificate.

An edge; a process may die at every line.

What is durable before what: the intent (a row) before the key, the key (a file) before its CSR, the
CSR before the CA hears of an order, the word that it is about to be asked before it is, the order's
URL before its challenges are answered, the word that it is about to be finalized before the CSR is
sent, the certificate before the order ends. Whoever comes next goes on with the same order and the
same key; where an answer was lost, the CA's own list of the account's orders says whether there is
one.
"""

from __future__ import annotations

import contextlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from certmgr.acme import rate_limits, responses
from certmgr.acme.accounts import AccountSession
from certmgr.acme.challenges.interface import ChallengeProof, Solver, proof
from certmgr.acme.client import NewOrder
from certmgr.acme.context import IssuanceContext
from certmgr.acme.problems import AcmeError, AcmeProblem, NextAction
from certmgr.acme.received import ClockFault, IssuedChain, choose
from certmgr.acme.received import read as read_chain
from certmgr.acme.responses import RawPayload
from certmgr.deploy.lineage import Lineage
from certmgr.inspection.report import certificate_row
from certmgr.x509 import csr as requests_
from certmgr.x509.key_store import key_reference
from inventory.errors import CertmgrError, UsageError
from inventory.names import as_ip, display
from inventory.store import acme_orders, lineages, scan_results
from inventory.store.records import Row
from inventory.text import printable

# An order that could not be brought to an end in this time is given up.
OLDEST = 86_400
# Seconds between two requests if the CA sends no Retry-After. The first are short, since a CA on
# the same network decides within milliseconds.
POLLS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 5.0)
FINALIZE_SECONDS = 300.0
MAX_ALTERNATES = 5
MAX_LISTED = 1000


class NamesFailed(CertmgrError):
    """``names``: name -> what the CA said of it."""

    def __init__(self, names: dict[str, str]) -> None:
        said = "; ".join(f"{display(n)}: {w}" for n, w in list(names.items())[:10])
        super().__init__(
            f"The CA could not verify {len(names)} name(s)",
            said,
            "certmgr issue --preflight says what each name needs.",
        )
        self.names = names

    def __reduce__(self) -> Any:
        return NamesFailed, (self.names,)


class OrderExpired(CertmgrError):
    """The order cannot be brought to an end any more; a new one can."""


class OrderPending(CertmgrError):
    """It is still not decided. It is gone on with later."""


@dataclass(slots=True)
class OrderFlow:
    """``row``: the order, held by the caller. ``lineage``: with ``names``."""

    office: IssuanceContext
    session: AccountSession
    lineage: Row
    row: Row

    def lead(self) -> Row:
        """The order, ``issued``.

        Raises :class:`AcmeError`, :class:`NamesFailed`, :class:`OrderExpired`,
        :class:`OrderPending`, and whatever a solver or the disk says.
        """
        if self.row["state"] == "issued":
            return self.row
        try:
            return self._lead()
        except AcmeError as error:
            failed = {
                n: w
                for n, w in error.problem.names().items()
                if n in self.names or f"*.{n}" in self.names
            }
            if error.problem.follows is NextAction.NAMES and failed:
                raise self._failed(failed) from None
            raise

    def _lead(self) -> Row:
        old = self.office.at - self.row["created_at"] > OLDEST
        if old and self.row["url"] is None:
            raise OrderExpired(
                "The order is too old to go on with", "the CA was never reached with it"
            )
        if self.row["csr"] is None:
            self._prepare()
        if self.row["url"] is None:
            self._ask()
        body = self._order()
        if old and body.status == messages.STATUS_PENDING:
            raise OrderExpired(
                "The order is too old to go on with",
                f"it was begun {(self.office.at - self.row['created_at']) // 3600} hours ago, and"
                " its names are still not shown to be ours",
            )
        if body.status == messages.STATUS_PENDING:
            self._authorize(body)
            body = self._poll(
                lambda b: b.status != messages.STATUS_PENDING,
                self.office.settings.acme.challenge_seconds,
            )
        if body.status == messages.STATUS_READY:
            self._finalize(body)
        if body.status in (messages.STATUS_READY, messages.STATUS_PROCESSING):
            body = self._poll(
                lambda b: b.status not in (messages.STATUS_READY, messages.STATUS_PROCESSING),
                FINALIZE_SECONDS,
            )
        if body.status != messages.STATUS_VALID or not body.certificate:
            self._ended(body)
        return self._fetch(responses.checked(body.certificate))

    # -- before the CA hears of it

    @property
    def names(self) -> list[str]:
        return str(self.row["names"]).split()

    def _record(self, step: str, **values: Any) -> None:
        self.office.step(step)
        with self.office.write() as tx:
            self.row = acme_orders.record(tx, self.row, **values)

    def _prepare(self) -> None:
        """The key, then its CSR."""
        lineage, reference = self.lineage, self.row["key_name"]
        if lineage["csr"]:
            self._record("csr", state="keyed", csr=lineage["csr"])
            return
        self.office.step("key")
        if lineage["reuse_key"] and (old := self._current_key()) is not None:
            path = self.office.keys.keep(reference, lineage["key_type"], old)
            key = old
        else:
            path, key = self.office.keys.make(reference, lineage["key_type"])
        made = requests_.make(key, self.names, True).decode()
        self._record("csr", state="keyed", key_reference=key_reference(path), csr=made)

    def _current_key(self) -> Any:
        """Of the certificate before; None where there is none, or its key is not ours."""

        folder = Lineage(self.office.base, self.lineage["name"])
        current = folder.current()
        if current is None:
            return None
        material = folder.read(current)
        pem = material.key_pem
        if material.sha256 in self.lineage["compromised"].split():
            return None  # a key that somebody else may have is never used again
        return None if pem is None else load_pem_private_key(pem, None)

    # -- the order

    def _ask(self) -> None:
        lost = self._lost() if self.row["state"] == "asked" else None
        if lost is None:
            self._record("ask", state="asked")
            self.office.step("new-order")
            lost = self._new_order()
        self.office.step("url")
        with self.office.write() as tx:
            self.row = acme_orders.record(tx, self.row, state="pending", url=lost)
            acme_orders.count(
                tx, self.row["account_id"], "order", [(None, None)], exempt=bool(self.row["exempt"])
            )

    def _new_order(self) -> str:
        """The order's URL.

        A CA that does not take ``replaces`` is asked again without it: a renewal never fails for
        that.
        """
        new = NewOrder(
            identifiers=identifiers(self.names),
            profile=self.row["profile"],
            replaces=self.row["replaces"],
        )
        try:
            response = self._post(self.session.directory["newOrder"], new)
        except AcmeError as error:
            if (
                self.row["replaces"] is None
                or error.problem.follows is not NextAction.WITHOUT_REPLACES
            ):
                raise
            self._record("without-replaces", replaces=None, exempt=0)
            response = self._post(
                self.session.directory["newOrder"],
                NewOrder(identifiers=identifiers(self.names), profile=self.row["profile"]),
            )
        responses.order(response)
        return responses.checked(response.headers.get("Location"))

    def _post(self, url: str, obj: Any = None) -> Any:
        return self.session.net.post(url, obj, new_nonce_url=self.session.directory["newNonce"])

    def _lost(self) -> str | None:
        """The URL of the order whose answer was lost, from the CA's list of the account's orders
        (RFC 8555 7.1.2.1). None where the CA keeps no list: then it is asked again, and one that
        finds an open order for the same names (Boulder) gives that.
        """
        self.office.step("lost")
        with self.office.database.read() as conn:
            known = acme_orders.urls(conn, self.row["account_id"])
        wanted = {(i.typ.name, i.value) for i in identifiers(self.names)}
        try:
            for url in self._listed():
                if url in known:
                    continue
                body = responses.order(self._post(url))
                same = {(i.typ.name, i.value) for i in body.identifiers or ()} == wanted
                if same and body.status not in (messages.STATUS_INVALID,):
                    return url
        except AcmeError as error:
            if error.problem.follows is NextAction.BACK_OFF:
                raise
        return None

    def _listed(self) -> Sequence[str]:
        """Newest first, as far as anybody can tell."""
        url = responses.document(self._post(self.session.row["url"])).get("orders")
        found: list[str] = []
        for _ in range(20):
            if not isinstance(url, str):
                break
            response = self._post(responses.checked(url))
            listed = responses.document(response).get("orders")
            found += [u for u in listed if isinstance(u, str)] if isinstance(listed, list) else []
            url = next(iter(self.session.acme._get_links(response, "next")), None)
        return [responses.checked(u) for u in reversed(found[-MAX_LISTED:])]

    def _order(self) -> messages.Order:
        """Raises :class:`OrderExpired` where the CA does not know it any more."""
        self.office.step("order")
        try:
            return responses.order(self._post(self.row["url"]))
        except AcmeError as error:
            if error.problem.status in (404, 403) or error.problem.type == "malformed":
                raise OrderExpired(
                    "The CA does not know the order any more", error.problem.sentence
                ) from None
            raise

    def _poll(self, done: Callable[[messages.Order], bool], seconds: float) -> messages.Order:
        """Until it is decided, as often as Retry-After says. Raises :class:`OrderPending`."""
        end = self.office.now() + timedelta(seconds=seconds)
        for attempt in range(100_000):
            response = self._post(self.row["url"])
            body = responses.order(response)
            if done(body):
                return body
            self._pause(response, attempt, end, "the order")
        raise OrderPending("The CA does not come to an end")

    def _pause(self, response: Any, attempt: int, end: Any, what: str) -> None:
        wait = responses.wait_of(response, self.office.now())
        wait = POLLS[min(attempt, len(POLLS) - 1)] if wait is None else max(wait, 0.1)
        left = (end - self.office.now()).total_seconds()
        if left <= 0 or wait > max(left, 0) + 60:
            why = (
                f"it asks to come back in {wait:.0f} seconds"
                if wait > max(left, 0)
                else "its time is over"
            )
            raise OrderPending(
                f"The CA has not decided about {what}", why, "It is gone on with by the next run."
            )
        self.office.wait(min(wait, max(left, 0.1)))

    # -- showing control

    def _authorize(self, body: messages.Order) -> None:
        """Answers every pending authorization. What was put up is always taken down again."""
        solver = self.office.solvers.get(self.lineage["solver"])
        self.office.step("authorizations")
        pending: list[tuple[str, ChallengeProof, Any]] = []
        failed: dict[str, str] = {}
        for url in body.authorizations:
            found = responses.authorization(self._post(url))
            if found.status == messages.STATUS_PENDING:
                pending.append((url, *self._challenge(found, solver)))
            elif found.status != messages.STATUS_VALID:
                failed[found.identifier.value] = _said(found)
        if failed:
            raise self._failed(failed)
        proofs = [p for _, p, _ in pending]
        try:
            self.office.step("present")
            solver.present(proofs)
            self.office.step("answer")
            for _, _, challenge in pending:
                if challenge.status == messages.STATUS_PENDING:
                    self._post(responses.checked(challenge.uri), RawPayload({}))
            self._decided([(url, p.name) for url, p, _ in pending])
        finally:
            solver.clean(proofs)

    def _challenge(
        self, found: messages.Authorization, solver: Solver
    ) -> tuple[ChallengeProof, Any]:
        name = str(found.identifier.value).removeprefix("*.").lower()
        if name not in {n.removeprefix("*.") for n in self.names}:
            raise AcmeError(
                "The CA asks for a proof of something else",
                AcmeProblem("unreadable", f"'{printable(name, 100)}' is not in the order"),
            )
        for challenge in found.challenges or ():
            if challenge.chall.typ == solver.challenge:
                thumbprint = urlsafe_b64encode(self.session.key.thumbprint()).rstrip(b"=").decode()
                return (
                    proof(name, challenge.chall.to_partial_json().get("token"), thumbprint),
                    challenge,
                )
        offered = (
            ", ".join(
                sorted(
                    {
                        printable(str(c.chall.to_partial_json().get("type", c.chall.typ)), 30)
                        for c in found.challenges or ()
                    }
                )
            )
            or "nothing"
        )
        why = (
            f"the CA offers {offered}, and the solver '{self.lineage['solver']}' does"
            f" {solver.challenge}"
        )
        raise UsageError(
            f"{display(name)} cannot be shown to be ours",
            why,
            "A wildcard needs dns-01: give the lineage another solver.",
        )

    def _decided(self, asked: Sequence[tuple[str, str]]) -> None:
        """Waits until every authorization is.

        Raises :class:`NamesFailed`, :class:`OrderPending`.
        """
        end = self.office.now() + timedelta(seconds=self.office.settings.acme.challenge_seconds)
        failed: dict[str, str] = {}
        for url, name in asked:
            for attempt in range(100_000):
                response = self._post(url)
                found = responses.authorization(response)
                if found.status == messages.STATUS_PENDING:
                    self._pause(response, attempt, end, display(name))
                    continue
                if found.status != messages.STATUS_VALID:
                    failed[name] = _said(found)
                break
        if failed:
            raise self._failed(failed)

    def _failed(self, failed: dict[str, str]) -> NamesFailed:
        with self.office.write() as tx:
            acme_orders.count(
                tx,
                self.row["account_id"],
                "failure",
                [(n.removeprefix("*."), None) for n in failed],
            )
        return NamesFailed(failed)

    # -- the certificate

    def _finalize(self, body: messages.Order) -> None:
        self._record("finalize", state="finalizing")
        der = x509.load_pem_x509_csr(self.row["csr"].encode()).public_bytes(Encoding.DER)
        self.office.step("finalizing")
        try:
            self._post(
                responses.checked(body.finalize),
                RawPayload({"csr": urlsafe_b64encode(der).rstrip(b"=").decode()}),
            )
        except AcmeError as error:
            if (
                error.problem.type != "orderNotReady"
            ):  # it may have taken it already, before an answer was lost
                raise
        self.office.step("finalized")

    def _ended(self, body: messages.Order) -> None:
        """Raises what an invalid order says."""
        problem = responses.error_of(body.error)
        if names := problem.names():
            raise self._failed(names)
        if body.error is None:
            failed = {}
            for url in body.authorizations:
                found = responses.authorization(self._post(url))
                if found.status != messages.STATUS_VALID:
                    failed[str(found.identifier.value)] = _said(found)
            if failed:
                raise self._failed(failed)
            raise OrderExpired(
                "The order came to no certificate",
                f"its state is {body.status.name}, and the CA gave no reason",
            )
        if problem.follows is NextAction.NAMES and len(self.names) == 1:
            raise self._failed({self.names[0]: problem.sentence})
        raise OrderExpired("The order came to no certificate", problem.sentence)

    def _fetch(self, url: str) -> Row:
        self.office.step("fetch")
        response = self._post(responses.checked(url))
        asked = x509.load_pem_x509_csr(self.row["csr"].encode())
        public = requests_.spki(asked.public_key())
        now = self.office.now()
        try:
            chains = [read_chain(response.content, public, self.names, now)]
        except ClockFault:
            raise  # the certificate is good: the order is kept, and another one would be no better
        except CertmgrError as error:
            raise OrderExpired(error.what, error.why, error.todo) from None
        note = ""
        if wanted := self.lineage["preferred_chain"]:
            for alternate in self.session.acme._get_links(response, "alternate")[:MAX_ALTERNATES]:
                with contextlib.suppress(
                    CertmgrError
                ):  # the CA's own chain is good, whatever its others are
                    chains.append(
                        read_chain(
                            self._post(responses.checked(alternate)).content,
                            public,
                            self.names,
                            now,
                        )
                    )
            chosen, note = choose(chains, wanted)
        else:
            chosen = chains[0]
        return self._keep(chosen, url, note)

    def _keep(self, chain: IssuedChain, url: str, note: str) -> Row:
        """The certificate, what it counts for, and that the lineage has it: one transaction."""
        self.office.step("store")
        leaf = chain.leaf
        with self.office.write() as tx:
            scan_results.add_certificates(
                tx, [asdict(certificate_row(c)) for c in chain.certificates]
            )
            self.row = acme_orders.record(
                tx,
                self.row,
                state="issued",
                sha256=leaf.sha256,
                certificate_url=url,
                error=note or None,
            )
            exempt = bool(self.row["exempt"])
            rows: list[tuple[str | None, str | None]] = [
                (d, None) for d in rate_limits.domains(self.names)
            ]
            acme_orders.count(
                tx,
                self.row["account_id"],
                "certificate",
                [*rows, (None, rate_limits.exact(self.names))],
                exempt=exempt,
            )
            hashes = " ".join(c.sha256 for c in chain.certificates)
            lineages.note(
                tx,
                self.lineage["id"],
                sha256=leaf.sha256,
                chain=hashes,
                failures=0,
                next_at=None,
                error=note or None,
                ari_start=None,
                ari_end=None,
                ari_at=None,
                ari_url=None,
                ari_next_at=None,
                proven_at=None,
                proof=None,
            )
            lineages.names_good(tx, self.lineage["id"], self.names)
        self.office.step("stored")
        return self.row


def identifiers(names: Sequence[str]) -> list[messages.Identifier]:
    """DNS names, wildcards included, and addresses (RFC 8738)."""
    found = []
    for name in names:
        address = as_ip(name)
        typ = messages.IDENTIFIER_FQDN if address is None else messages.IDENTIFIER_IP
        found.append(messages.Identifier(typ=typ, value=str(address or name)))
    return found


def _said(found: messages.Authorization) -> str:
    """What the CA said of an authorization that is not valid."""
    problems = [responses.error_of(c.error) for c in found.challenges or () if c.error is not None]
    if problems:
        return "; ".join(p.sentence for p in problems)
    return f"its authorization is {found.status.name}"
