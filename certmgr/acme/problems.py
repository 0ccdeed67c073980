"""What a CA says went wrong: problem documents (RFC 7807, RFC 8555 6.7) as values, in words, and
what follows from them. Pure.

A CA's text is shown and never run, formatted into a command or used as a template; it is bounded
and made printable here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from inventory.errors import CertmgrError
from inventory.text import printable

PREFIX = "urn:ietf:params:acme:error:"
MAX_SUBPROBLEMS = 100
LONGEST_WAIT = 7 * 86_400.0


class NextAction(StrEnum):
    """What is done about a problem."""

    RETRY = "retry"  # at once, within bounds
    BACK_OFF = "back-off"  # leave the CA, or the name, alone for a while
    WITHOUT_REPLACES = (  # the same order, without the certificate that it replaces
        "without-replaces"
    )
    ACCOUNT = "account"  # the account is gone, or may not order
    TERMS = "terms"  # a person has to agree to something
    NAMES = "names"  # some name failed
    STAFF = "staff"  # trying again changes nothing


@dataclass(frozen=True, slots=True)
class AcmeProblem:
    """``type``: without its prefix.

    ``status``: HTTP, None where it stood inside another document. ``retry_after``: seconds.
    ``identifier``: the name meant.
    """

    type: str
    detail: str = ""
    status: int | None = None
    retry_after: float | None = None
    identifier: str = ""
    subproblems: tuple[AcmeProblem, ...] = ()

    @property
    def paused(self) -> bool:
        """Let's Encrypt pauses a name after many failures in a row and gives a link to lift it."""
        return self.type == "rateLimited" and (
            "paused" in self.detail.lower() or "unpause" in self.detail.lower()
        )

    @property
    def sentence(self) -> str:
        """In words, sub-problems included."""
        own = _WORDS.get(self.type, "")
        said = self.detail or (f"HTTP {self.status}" if self.status else "it gave no reason")
        parts = [f"{self.identifier}: " if self.identifier else "", own, ": " if own else "", said]
        if self.type and not own:
            parts.append(f" ({self.type})")
        inner = [s.sentence for s in self.subproblems]
        return "".join(parts) + (f" [{'; '.join(inner)}]" if inner else "")

    @property
    def follows(self) -> NextAction:
        match self.type:
            case "badNonce":
                return NextAction.RETRY
            case "alreadyReplaced":
                return NextAction.WITHOUT_REPLACES
            case "accountDoesNotExist":
                return NextAction.ACCOUNT
            case "userActionRequired":
                return NextAction.TERMS
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
            case "malformed" if "replac" in self.detail.lower():
                return NextAction.WITHOUT_REPLACES
        if self.status is not None and (self.status >= 500 or self.status == 429):
            return NextAction.BACK_OFF
        return NextAction.STAFF

    def names(self) -> dict[str, str]:
        """Name -> what was said of it, of all levels."""
        found = {self.identifier: self.sentence} if self.identifier else {}
        for one in self.subproblems:
            found |= one.names()
        return found

    def to_json(self) -> str:
        return json.dumps(_plain(self), sort_keys=True)


_WORDS = {
    "accountDoesNotExist": "the CA does not know this account",
    "alreadyReplaced": "the certificate was replaced by another order already",
    "alreadyRevoked": "the certificate is revoked already",
    "badCSR": "the CA does not accept the CSR",
    "badNonce": "the CA did not accept the nonce",
    "badPublicKey": "the CA does not accept the key",
    "badRevocationReason": "the CA does not accept the reason",
    "badSignatureAlgorithm": "the CA does not accept the kind of account key",
    "caa": "CAA records forbid the CA to issue",
    "compound": "several names failed",
    "connection": "the CA could not connect to the server of the name",
    "dns": "the CA could not look the name up",
    "externalAccountRequired": "the CA wants an external account binding",
    "incorrectResponse": "the answer to the challenge was not the right one",
    "invalidContact": "the CA does not accept the contact address",
    "invalidProfile": "the CA does not offer this profile",
    "malformed": "the CA could not use the request",
    "orderNotReady": "the order is not ready yet",
    "rateLimited": "a limit of the CA is reached",
    "rejectedIdentifier": "the CA does not issue for this name",
    "serverInternal": "the CA has a fault of its own",
    "tls": "TLS with the server of the name failed",
    "unauthorized": "the CA did not get the proof that it asked for",
    "unsupportedContact": "the CA does not accept this kind of contact",
    "unsupportedIdentifier": "the CA does not issue for this kind of name",
    "userActionRequired": "somebody has to agree to something at the CA",
    "unreachable": "the CA could not be reached",
    "unreadable": "what the CA answered could not be read",
}


def parse(
    document: Any, status: int | None = None, retry_after: float | None = None, *, depth: int = 0
) -> AcmeProblem:
    """Whatever ``document`` is, a Problem comes out of it."""
    body = document if isinstance(document, Mapping) else {}
    kind = body.get("type")
    word = (
        printable(kind, 120).removeprefix(PREFIX)
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
        type=word,
        detail=_text(body.get("detail")) or _text(body.get("title")),
        status=status,
        retry_after=retry_after,
        identifier=_text(name, 253),
        subproblems=subproblems,
    )


def stored(text: str | None) -> AcmeProblem | None:
    """The inverse of :meth:`Problem.to_json`."""
    if not text:
        return None
    found = json.loads(text)
    return parse(found, found.get("status"))


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
    """Seconds from ``now``, of a Retry-After in seconds or as an HTTP date (RFC 9110 10.2.3); None
    without a usable one. At most a week.
    """
    text = (header or "").strip()[:100]
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), LONGEST_WAIT)


class AcmeError(CertmgrError):
    """The CA said no, or nothing that could be read.

    ``problem`` says what; ``location``: of a conflict (RFC 8555 7.3.1).
    """

    def __init__(self, what: str, problem: AcmeProblem, todo: str = "", location: str = "") -> None:
        super().__init__(what, problem.sentence, todo or _TODO.get(problem.follows, ""))
        self.problem, self.location = problem, location

    def __reduce__(self) -> Any:
        return AcmeError, (self.what, self.problem, self.todo, self.location)


_TODO = {
    NextAction.BACK_OFF: "It is tried again by itself, later.",
    NextAction.ACCOUNT: (
        "See certmgr account list; register it again with certmgr account add, or restore its key."
    ),
    NextAction.TERMS: "Read what the CA says there, then: certmgr account agree NAME.",
    NextAction.NAMES: (
        "certmgr issue --preflight says what is wrong with a name, and which record it needs."
    ),
}
