"""Problem documents of a CA (RFC 7807, RFC 8555 6.7): as values, as sentences, and the action that
each requires.

Pure. The text of a CA is only displayed. It is never executed, part of a command or used as a
template. This module limits its length and removes control characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from certmgr.acme.protocol.response_fields import identifier_name
from inventory.errors import CertmgrError
from inventory.text import printable

PREFIX = "urn:ietf:params:acme:error:"
# Of the drafts before RFC 8555, which some CAs still send.
OLD_PREFIX = "urn:acme:error:"
# One per name of the largest usual certificate.
MAX_SUBPROBLEMS = 100
# A CA, or a proxy before it, may ask for any time. A week is the longest window of a known limit.
LONGEST_WAIT = 7 * 86_400.0


class NextAction(StrEnum):
    """The action that a problem requires."""

    RETRY = "retry"  # at once within bounds, or by the next run
    BACK_OFF = "back-off"  # suspend requests for the CA, the account or the name
    WITHOUT_REPLACES = "without-replaces"  # order again without ``replaces``
    ACCOUNT = "account"  # the account does not exist or may not order
    TERMS = "terms"  # an administrator has to agree to terms
    NAMES = "names"  # a name could not be validated
    STAFF = "staff"  # a retry does not help


class LimitScope(StrEnum):
    """What a rate limit of a CA counts."""

    NAMES = "names"  # failed validations of a name, or a name that the CA paused
    DOMAINS = "domains"  # certificates per registered domain or per set of names
    ACCOUNT = "account"  # orders of an account, and any limit that is not known


# RFC 8555 6.7 has one type for all rate limits and no field for what was exceeded. This table reads
# it from the texts of Boulder and Pebble, in this order; it is the only place that does.
_PAUSED_MARKS = ("paused", "unpause")
_LIMIT_MARKS = (
    ("failed authorizations", LimitScope.NAMES),
    ("account", LimitScope.ACCOUNT),
    ("certificates", LimitScope.DOMAINS),
    ("domain", LimitScope.DOMAINS),
)


@dataclass(frozen=True, slots=True)
class AcmeProblem:
    """A problem document.

    Attributes:
        type: The type without its prefix.
        detail: The CA's description.
        status: The HTTP status; None for a problem inside another document.
        retry_after: Seconds, from the header Retry-After.
        identifier: The name to which the problem applies.
        subproblems: The problems of single names.
    """

    type: str
    detail: str = ""
    status: int | None = None
    retry_after: float | None = None
    identifier: str = ""
    subproblems: tuple[AcmeProblem, ...] = ()

    @property
    def paused(self) -> bool:
        """Whether the CA paused the account for a name.

        Let's Encrypt does that after many consecutive failures, and gives a link to unpause it.
        """
        return self.type == "rateLimited" and any(m in self.detail.lower() for m in _PAUSED_MARKS)

    @property
    def rate_limited(self) -> bool:
        """Whether a rate limit was reached: by the type, or by the status of CAs without it."""
        return self.type == "rateLimited" or self.status == 429

    @property
    def limit_scope(self) -> LimitScope:
        """What the rate limit counts."""
        # A paused name stays paused until an administrator follows the CA's link; other names go
        # on.
        if self.paused:
            return LimitScope.NAMES
        detail = self.detail.lower()
        return next((scope for mark, scope in _LIMIT_MARKS if mark in detail), LimitScope.ACCOUNT)

    def mentions(self, name: str) -> bool:
        """Whether the CA's description contains a name."""
        return name.lower() in self.detail.lower()

    @property
    def account_ended(self) -> bool:
        """Whether the CA refuses every request of the account, because it was deactivated.

        CAs report that with the type of a failed validation (RFC 8555 7.3.6), so that only their
        words distinguish the two.
        """
        # The problem of a challenge has no HTTP status. It may quote the web server of the name,
        # whose text never decides about an account.
        return (
            self.type == "unauthorized"
            and self.status is not None
            and _ACCOUNT_ENDED.search(self.detail) is not None
        )

    @property
    def may_be_about_replaces(self) -> bool:
        """Whether an order that was refused with ``replaces`` may be accepted without it.

        That is any refusal of the client's request (4xx). A rate limit is left out: it states when
        to come back, and a repetition at once would extend it at some CAs.
        """
        return self.next_action is NextAction.WITHOUT_REPLACES or (
            self.status is not None and 400 <= self.status < 500 and not self.rate_limited
        )

    @property
    def is_about_profile(self) -> bool:
        """Whether an order was refused because of its profile.

        CAs without the type ``invalidProfile`` name the profile in their description.
        """
        refused = self.status is not None and 400 <= self.status < 500 and not self.rate_limited
        return self.type == "invalidProfile" or (refused and "profile" in self.detail.lower())

    @property
    def sentence(self) -> str:
        """The problem and its subproblems in words."""
        meaning = _MEANINGS.get("accountEnded" if self.account_ended else self.type, "")
        detail = self.detail or (f"HTTP {self.status}" if self.status else "it gave no reason")
        parts = [
            f"{self.identifier}: " if self.identifier else "",
            meaning,
            ": " if meaning else "",
            detail,
        ]
        if self.type and not meaning:
            parts.append(f" ({self.type})")
        inner = [s.sentence for s in self.subproblems]
        return "".join(parts) + (f" [{'; '.join(inner)}]" if inner else "")

    @property
    def next_action(self) -> NextAction:
        """The action that the problem requires."""
        if self.account_ended:
            return NextAction.ACCOUNT
        match self.type:
            case "badNonce":
                return NextAction.RETRY
            case "alreadyReplaced":
                return NextAction.WITHOUT_REPLACES
            case "accountDoesNotExist":
                return NextAction.ACCOUNT
            case "userActionRequired":
                return NextAction.TERMS
            # None of these depends on the request, so that the same request succeeds later.
            case "rateLimited" | "serverInternal" | "unreachable" | "unreadable":
                return NextAction.BACK_OFF
            case (
                "caa"
                | "connection"
                | "dns"
                | "incorrectResponse"
                | "tls"
                | "unauthorized"
                | "rejectedIdentifier"
                | "compound"
            ):
                return NextAction.NAMES
            # CAs without the type alreadyReplaced refuse ``replaces`` as malformed.
            case "malformed" if "replac" in self.detail.lower():
                return NextAction.WITHOUT_REPLACES
        # Proxies before a CA send errors without a problem document.
        if self.status is not None and (self.status >= 500 or self.status == 429):
            return NextAction.BACK_OFF
        # A proxy or a portal refused the request, and not the CA: the order goes on later.
        if not self.type and self.status is not None and self.status >= 400:
            return NextAction.RETRY
        return NextAction.STAFF

    def names(self) -> dict[str, str]:
        """Return the affected names of all levels, each with its problem in words."""
        names = {self.identifier: self.sentence} if self.identifier else {}
        for subproblem in self.subproblems:
            names |= subproblem.names()
        return names

    def to_json(self) -> str:
        """Return the problem as JSON for the database."""
        return json.dumps(_plain(self), sort_keys=True)


_ENDED_STATES = (
    "(?:blocked|closed|deactivated|disabled|inactive|not active|not valid|revoked|suspended"
    "|terminated)"
)
# The two words belong together: "this account may not revoke a certificate that is revoked" does
# not end the account.
_ACCOUNT_ENDED = re.compile(
    rf"\baccount\b[^.;]{{0,30}}\b{_ENDED_STATES}\b|\b{_ENDED_STATES} account\b", re.IGNORECASE
)
_MEANINGS = {
    "accountEnded": "the CA does not accept this account any more",
    "accountDoesNotExist": "the CA does not know this account",
    "alreadyReplaced": "the certificate was replaced by another order already",
    "alreadyRevoked": "the certificate is revoked already",
    "badCSR": "the CA does not accept the CSR",
    "badNonce": "the CA did not accept the nonce",
    "badPublicKey": "the CA does not accept the key",
    "badRevocationReason": "the CA does not accept the reason",
    "badSignatureAlgorithm": "the CA does not accept the type of the account key",
    "caa": "CAA records forbid the CA to issue",
    "compound": "several names failed",
    "connection": "the CA could not connect to the server of the name",
    "dns": "the CA could not resolve the name",
    "externalAccountRequired": "the CA requires an external account binding",
    "incorrectResponse": "the answer to the challenge was wrong",
    "invalidContact": "the CA does not accept the contact address",
    "invalidProfile": "the CA does not offer this profile",
    "malformed": "the CA could not process the request",
    "orderNotReady": "the order is not ready yet",
    "rateLimited": "a rate limit of the CA is reached",
    "rejectedIdentifier": "the CA does not issue for this name",
    "serverInternal": "the CA has an internal error",
    "tls": "the TLS handshake with the server of the name failed",
    "unauthorized": "the CA could not validate control of the name",
    "unsupportedContact": "the CA does not accept this type of contact",
    "unsupportedIdentifier": "the CA does not issue for this type of name",
    "userActionRequired": "an administrator must agree to terms of the CA",
    "unreachable": "the CA could not be reached",
    "unreadable": "the answer of the CA could not be read",
}


def parse(
    document: Any, status: int | None = None, retry_after: float | None = None, *, depth: int = 0
) -> AcmeProblem:
    """Return any document as a problem. It never raises, because a CA's answer is untrusted.

    Args:
        document: The decoded JSON.
        status: The HTTP status.
        retry_after: Seconds, from the header Retry-After.
        depth: The depth of recursion into subproblems.
    """
    body = document if isinstance(document, Mapping) else {}
    kind = body.get("type")
    problem_type = (
        printable(kind, 120).removeprefix(PREFIX).removeprefix(OLD_PREFIX)
        if isinstance(kind, str) and kind != "about:blank"
        else ""
    )
    identifier = body.get("identifier")
    name = identifier.get("value") if isinstance(identifier, Mapping) else ""
    inner = body.get("subproblems")
    subproblems = (
        tuple(parse(s, depth=depth + 1) for s in inner[:MAX_SUBPROBLEMS])
        if isinstance(inner, list) and depth < 3
        else ()
    )
    return AcmeProblem(
        type=problem_type,
        detail=_text(body.get("detail")) or _text(body.get("title")),
        status=status,
        retry_after=retry_after,
        identifier=identifier_name(_text(name, 253)),
        subproblems=subproblems,
    )


def from_json(text: str | None) -> AcmeProblem | None:
    """Return the problem of :meth:`AcmeProblem.to_json`; None for an empty text."""
    if not text:
        return None
    document = json.loads(text)
    return parse(document, document.get("status"))


def _text(value: Any, limit: int = 600) -> str:
    return printable(value, limit) if isinstance(value, str) else ""


def _plain(problem: AcmeProblem) -> dict[str, Any]:
    return {
        "type": problem.type,
        "detail": problem.detail,
        "status": problem.status,
        "identifier": {"value": problem.identifier},
        "subproblems": [_plain(s) for s in problem.subproblems],
    }


def retry_after(header: str | None, now: datetime) -> float | None:
    """Parse the header Retry-After, in seconds or as an HTTP date (RFC 9110 10.2.3).

    Returns:
        Seconds from ``now``, at most a week; None without a valid value.
    """
    text = (header or "").strip()[:100]
    if not text:
        return None
    # Two proxies may each have added a value, and some servers send a fraction of a second.
    number = re.fullmatch(r"(\d{1,99})(?:\.\d+)?(?:\s*,.*)?", text, re.ASCII)
    if number:
        return min(float(number[1]), LONGEST_WAIT)
    try:
        timestamp = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if timestamp.tzinfo is None:
        timestamp = timestamp.replace(tzinfo=UTC)
    return min(max(0.0, (timestamp - now).total_seconds()), LONGEST_WAIT)


class AcmeError(CertmgrError):
    """The CA refused a request, did not answer, or sent an unreadable answer.

    Attributes:
        problem: The problem.
        location: The header Location of the answer, of a conflict (RFC 8555 7.3.1).
    """

    def __init__(self, what: str, problem: AcmeProblem, todo: str = "", location: str = "") -> None:
        super().__init__(what, problem.sentence, todo or remedy(problem))
        self.problem, self.location = problem, location

    def __reduce__(self) -> Any:
        return AcmeError, (self.what, self.problem, self.todo, self.location)


def remedy(problem: AcmeProblem) -> str:
    """Return what an administrator does about a problem; empty if nothing is known."""
    return _TYPE_REMEDIES.get(problem.type, "") or _REMEDIES.get(problem.next_action, "")


_TYPE_REMEDIES = {
    "externalAccountRequired": (
        "Get an id and a key of a binding from the CA, register another account with certmgr"
        " account add CA --name NEW --eab-kid ID --eab-key env:NAME or file:PATH, and give it to"
        " the lineages: certmgr lineage edit NAME --account NEW."
    ),
    "invalidProfile": (
        "See the profiles that the CA offers with certmgr account show NAME --ask, then run"
        " certmgr lineage edit NAME --profile PROFILE."
    ),
    "invalidContact": "Give the CA another address with --contact.",
    "unsupportedContact": "Give the CA an e-mail address with --contact.",
    "badCSR": (
        "The CA's reason names what is wrong, such as a weak key or a name too many. Change the"
        " names with certmgr lineage edit NAME --names, or give a new --csr."
    ),
    "badPublicKey": "Issue the certificate with another --key, or with a new --csr.",
    "badSignatureAlgorithm": "Replace the account key: certmgr account rollover NAME --key TYPE.",
    "unsupportedIdentifier": (
        "Use another CA for this name: certmgr lineage edit NAME --account OTHER."
    ),
}
_REMEDIES = {
    NextAction.BACK_OFF: "It is retried automatically later.",
    NextAction.ACCOUNT: (
        "See certmgr account list; register it again with certmgr account add, or restore its key."
    ),
    NextAction.TERMS: "Read the CA's terms, then run certmgr account agree NAME.",
    NextAction.NAMES: (
        "Run certmgr issue --preflight to see the fault of each name and the record it needs."
    ),
}
