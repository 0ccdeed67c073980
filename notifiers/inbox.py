"""Inbound mail: replies, bounces and automatic replies.

Only a mail with the mark of a notice (its id and secret) can acknowledge it or mark an address as
bad. Any other mail is shown to staff and changes nothing.

A bounce is a delivery report (RFC 3464) of a permanent failure. An automatic reply has the header
of RFC 3834 or one of its predecessors.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import imaplib
import logging
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from inventory.db.database import Database
from inventory.errors import CertmgrError, ConfigError
from inventory.store import inbox, outbox, recipients, tickets
from inventory.text import printable
from notifiers.channels import MARK_HEADER

_log = logging.getLogger(__name__)

MAX_MAIL = 512 * 1024
MAX_MAILS = 500
MAX_PARTS = 50
MAX_TEXT = 2000
_MARK = re.compile(r"\b(\d{1,18}\.[0-9a-f]{20})\b")


@dataclass(frozen=True, slots=True)
class InboundMail:
    """A parsed mail.

    Attributes:
        kind: reply, bounce, delay (a report of a temporary failure) or automatic.
        marks: The marks of notices, from headers and parts that only a reader of the notice can
            return.
    """

    kind: str
    message_id: str
    marks: tuple[str, ...]
    text: str
    status: str = ""


def parse(raw: bytes) -> InboundMail:
    """Parse a mail. An unreadable one has no mark. Never raises. Pure."""
    try:
        return _parse(raw)
    except Exception as error:
        # The mail parser fails in many ways on hostile mail, and all of them mean the same.
        return InboundMail(
            "reply",
            f"<{hashlib.sha256(raw).hexdigest()}>",
            (),
            f"unreadable: {type(error).__name__}",
        )


def _parse(raw: bytes) -> InboundMail:
    message = email.message_from_bytes(raw[:MAX_MAIL], policy=email.policy.compat32)
    parts = _parts(message)
    # A hash of the content identifies the mail. With the Message-ID, an attacker could block
    # another mail by using its id.
    key = f"<{hashlib.sha256(raw).hexdigest()}>"
    report = next((p for p in parts if p.get_content_type() == "message/delivery-status"), None)
    if report is not None:
        action, status = _report(report)
        marks = _marks(
            " ".join(_header(p, MARK_HEADER) + " " + _body(p) for p in parts if _returned(p))
        )
        kind = "bounce" if action == "failed" and status.startswith("5") else "delay"
        return InboundMail(kind, key, marks, printable(f"{action} {status}", 200), status)
    # Mail programs return the message id of the notice in one of these headers.
    references = f"{_header(message, 'References')} {_header(message, 'In-Reply-To')}"
    kind = "automatic" if automatic(message) else "reply"
    text = next((_body(p) for p in parts if p.get_content_type() == "text/plain"), "")
    return InboundMail(
        kind, key, _marks(references), printable(" ".join(_without_quotes(text).split()), MAX_TEXT)
    )


def _parts(message: Any) -> list[Any]:
    parts = []
    for part in message.walk():
        parts.append(part)
        if len(parts) >= MAX_PARTS:
            break
    return parts


def _header(part: Any, name: str) -> str:
    return str(part.get(name, ""))[:2000]


def _returned(part: Any) -> bool:
    """Return whether a part of a report is a copy of the sent mail, or of its headers."""
    return part.get_content_type() in ("text/rfc822-headers", "message/rfc822") or bool(
        part.get(MARK_HEADER)
    )


def _body(part: Any) -> str:
    payload = part.get_payload(decode=True)
    if isinstance(payload, bytes):
        return payload[:20_000].decode("utf-8", "replace")
    return (
        part.as_string()[:20_000]
        if part.is_multipart() and part.get_content_type() == "message/rfc822"
        else ""
    )


def _report(part: Any) -> tuple[str, str]:
    """Return action and status of the recipient. Each notice has one recipient."""
    text = part.as_string()[:20_000]
    action = re.search(r"^action:\s*([a-z]+)", text, re.I | re.M)
    status = re.search(r"^status:\s*([245]\.\d{1,3}\.\d{1,3})", text, re.I | re.M)
    return (action[1].lower() if action else ""), (status[1] if status else "")


def _marks(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_MARK.findall(text)))[:10]


def automatic(message: Any) -> bool:
    """Return whether a mail is automatic (RFC 3834, section 5, and earlier headers).

    Out-of-office messages, mailing lists and bulk mail are.
    """
    submitted = _header(message, "Auto-Submitted").strip().lower()
    if submitted and submitted != "no":
        return True
    if _header(message, "Precedence").strip().lower() in ("bulk", "junk", "list", "auto_reply"):
        return True
    return any(
        message.get(h) is not None
        for h in ("X-Autoreply", "X-Autorespond", "X-Auto-Response-Suppress", "List-Id")
    )


def _without_quotes(text: str) -> str:
    """Return the text without quoted lines."""
    lines = [line for line in text.splitlines()[:400] if not line.lstrip().startswith(">")]
    return "\n".join(lines)[: 2 * MAX_TEXT]


# -- recording


def record_mail(database: Database, raw: bytes, now: datetime, *, dry_run: bool = False) -> str:
    """Record one mail, in one transaction.

    Returns:
        Its kind: reply, bounce, automatic, delay or stranger; known if it was recorded before.
    """
    mail = parse(raw)
    with database.read() as conn:
        row = next((r for m in mail.marks if (r := outbox.by_mark(conn, m)) is not None), None)
    kind = mail.kind if row is not None else "stranger"
    if dry_run:
        return kind
    with database.write(now) as tx:
        values = {
            "message_id": mail.message_id,
            "kind": kind,
            "notice_id": row.id if row else None,
            "contact_id": row.contact_id if row else None,
            "text": mail.text if row else "",
        }
        # The mail was recorded before, so it must not change anything again.
        if not inbox.add(tx, values):
            return "known"
        if row is None:
            return kind  # without a mark it changes nothing
        # Replies of staff to a digest acknowledge nothing.
        if kind == "reply" and row.kind == "client":
            about = [m.id for m in tickets.of_notice(tx.conn, row.id)]
            tickets.acknowledge(tx, about, f"contact {row.contact_id}")
        elif kind == "bounce" and row.contact_id is not None and row.sent_to:
            # The address is the one that the notice was sent to. The report could name another.
            recipients.mark_way(tx, row.contact_id, row.sent_to, "bad")
            outbox.bounced(tx, row.id, mail.text)
        tx.audit(kind, "notice", row.id)
    return kind


# -- the mailbox


def read(
    database: Database, url: str, now: datetime, *, dry_run: bool = False, timeout: float = 30.0
) -> Counter[str]:
    """Record each mail that is not marked as seen, and return their number by kind.

    A mail is marked only after its transaction. If the process dies between the two, the mail is
    read again and recognized as known.
    """
    counts: Counter[str] = Counter()
    with _mailbox(url, timeout, readonly=dry_run) as imap:
        for number in _unseen(imap)[:MAX_MAILS]:
            _log.info("reading mail %s", number)
            raw = _fetch(imap, number)
            counts[record_mail(database, raw, now, dry_run=dry_run)] += 1
            if not dry_run:
                imap.uid("STORE", number, "+FLAGS", "(\\Seen)")
    return counts


def reachable(url: str, timeout: float = 10.0) -> int:
    """Return the number of new mails. Nothing is read or marked.

    Raises:
        CertmgrError: The mailbox cannot be read.
    """
    with _mailbox(url, timeout, readonly=True) as imap:
        return len(_unseen(imap))


@contextmanager
def _mailbox(url: str, timeout: float, *, readonly: bool) -> Iterator[Any]:
    parts = urlsplit(url)
    if parts.scheme not in ("imaps", "imap+starttls") or not parts.hostname or not parts.username:
        raise ConfigError(
            "The URL of the mailbox cannot be used",
            "it is not imaps://user:password@host/INBOX",
            "Write imaps:// or imap+starttls://.",
        )
    # The certificate of the mail server is verified.
    context = ssl.create_default_context()
    try:
        if parts.scheme == "imaps":
            imap: Any = imaplib.IMAP4_SSL(
                parts.hostname, parts.port or 993, ssl_context=context, timeout=timeout
            )
        else:
            imap = imaplib.IMAP4(parts.hostname, parts.port or 143, timeout=timeout)
    except (OSError, imaplib.IMAP4.error) as error:
        raise _unusable(parts.hostname, error) from None
    try:
        if parts.scheme != "imaps":
            imap.starttls(context)
        imap.login(unquote(parts.username), unquote(parts.password or ""))
        folder = unquote(parts.path.strip("/")) or "INBOX"
        status, _ = imap.select(
            '"' + folder.replace("\\", "").replace('"', "") + '"', readonly=readonly
        )
        if status != "OK":
            raise CertmgrError(
                f"The mailbox has no folder '{printable(folder, 60)}'",
                "",
                "Correct the URL in [notify] inbox.",
            )
        yield imap
    except (OSError, imaplib.IMAP4.error) as error:
        raise _unusable(parts.hostname, error) from None
    finally:
        with suppress(OSError, imaplib.IMAP4.error):
            imap.logout()


def _unusable(host: str, error: BaseException) -> CertmgrError:
    return CertmgrError(
        f"The mailbox at {host} cannot be read",
        printable(str(error), 200),
        "Check [notify] inbox. No mail was lost.",
    )


def _unseen(imap: Any) -> list[str]:
    status, data = imap.uid("SEARCH", None, "UNSEEN")
    if status != "OK" or not data or data[0] is None:
        return []
    return [n for n in data[0].decode("ascii", "replace").split() if n.isdigit()]


def _fetch(imap: Any, number: str) -> bytes:
    """Return at most :data:`MAX_MAIL` bytes of a mail, without marking it as seen."""
    status, data = imap.uid("FETCH", number, f"(BODY.PEEK[]<0.{MAX_MAIL}>)")
    content = next((part[1] for part in data or () if isinstance(part, tuple)), b"")
    return bytes(content) if status == "OK" else b""
