"""The mailbox for replies and bounces, over IMAP (imap-tools)."""

from __future__ import annotations

import imaplib
import logging
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from urllib.parse import unquote, urlsplit

from imap_tools import BaseMailBox, MailboxFolderSelectError
from imap_tools.errors import ImapToolsError

from inventory.db.database import Database
from inventory.errors import CertmgrError, ConfigError
from inventory.text import printable
from notifiers.inbox.classify import MAX_MAIL
from notifiers.inbox.process import MailParserProcess
from notifiers.inbox.record import OnMail, record_mail, without_cases
from notifiers.mail_sessions import connect_imap
from notifiers.tls_sockets import system_trust

_log = logging.getLogger(__name__)

# Per run, so that a flooded mailbox delays no notice. The rest waits for the next run.
MAX_MAILS = 500
# Per run. Mail that costs much time must not keep the notices of the same run back.
BUDGET_SECONDS = 180.0
_ERRORS = (OSError, imaplib.IMAP4.error, ImapToolsError)


def read(
    database: Database,
    url: str,
    now: datetime,
    *,
    dry_run: bool = False,
    timeout: float = 30.0,
    on_mail: OnMail = without_cases,
    timer: Callable[[], float] = time.monotonic,
) -> Counter[str]:
    """Record each mail that is not marked as seen, and return their number by kind.

    A mail is marked only after its transaction. If the process dies between the two, the mail is
    read again and recognized as known. What does not fit into the time of a run waits for the next.

    Args:
        timeout: Seconds to wait for each answer of the server.
        on_mail: Records a mail in the case of its notice.
        timer: A monotonic timer in seconds.
    """
    counts: Counter[str] = Counter()
    end = timer() + BUDGET_SECONDS
    with _mailbox(url, timeout, readonly=dry_run) as box, MailParserProcess() as parser:
        # "Seen" is the only mark, so that the provider's staff may use the same mailbox.
        for number in box.uids("UNSEEN")[:MAX_MAILS]:
            if timer() > end:
                _log.warning("the inbox has more mail than one run has time for")
                break
            _log.info("reading mail %s", number)
            mail = parser.parse(_fetch(box, number))
            counts[record_mail(database, mail, now, dry_run=dry_run, on_mail=on_mail)] += 1
            if not dry_run:
                box.flag(number, "\\Seen", True)
    return counts


def reachable(url: str, timeout: float = 10.0) -> int:
    """Return the number of new mails. Nothing is read or marked.

    Raises:
        CertmgrError: The mailbox cannot be read.
    """
    with _mailbox(url, timeout, readonly=True) as box:
        return len(box.uids("UNSEEN"))


class _MailBox(BaseMailBox):
    """A mailbox over a session whose replies are bounded."""

    def __init__(self, host: str, port: int, seconds: float, *, starttls: bool) -> None:
        # The certificate of the mail server is verified.
        context = system_trust()
        self._connect = partial(
            connect_imap, host, port, seconds, context, starttls=starttls, size=MAX_MAIL
        )
        super().__init__()

    def _get_mailbox_client(self) -> imaplib.IMAP4:
        return self._connect()


@contextmanager
def _mailbox(url: str, timeout: float, *, readonly: bool) -> Iterator[BaseMailBox]:
    parts = urlsplit(url)
    # Without TLS, password and mail of clients would be sent in clear.
    if parts.scheme not in ("imaps", "imap+starttls") or not parts.hostname or not parts.username:
        raise ConfigError(
            "The URL of the mailbox cannot be used",
            "it is not imaps://user:password@host/INBOX",
            "Write imaps:// or imap+starttls://.",
        )
    folder = unquote(parts.path.strip("/")) or "INBOX"
    box: BaseMailBox | None = None
    try:
        starttls = parts.scheme != "imaps"
        port = parts.port or (143 if starttls else 993)
        box = _MailBox(parts.hostname, port, timeout, starttls=starttls)
        box.login(unquote(parts.username), unquote(parts.password or ""), initial_folder=None)
        _select(box, folder, readonly=readonly)
        yield box
    except _ERRORS as error:
        raise CertmgrError(
            f"The mailbox at {parts.hostname} cannot be read",
            _reason(error),
            "Check [notify] inbox. No mail was lost.",
        ) from None
    finally:
        if box is not None:
            with suppress(*_ERRORS):
                # Best effort: what was read is recorded and marked by now.
                box.logout()


def _select(box: BaseMailBox, folder: str, *, readonly: bool) -> None:
    try:
        box.folder.set(folder, readonly=readonly)
    except MailboxFolderSelectError:
        raise CertmgrError(
            f"The mailbox has no folder '{printable(folder, 60)}'",
            "",
            "Correct the URL in [notify] inbox.",
        ) from None


def _reason(error: BaseException) -> str:
    """Return what happened, without the wording of the libraries."""
    if isinstance(error, ssl.SSLError):
        return "its TLS certificate is not trusted, or TLS failed"
    if isinstance(error, TimeoutError):
        return "the server did not answer in time"
    if isinstance(error, OSError):
        return printable(error.strerror or "the connection failed", 200)
    return "the server refused the user, the password or a command"


def _fetch(box: BaseMailBox, number: str) -> bytes:
    """Return at most :data:`MAX_MAIL` bytes of a mail, without marking it as seen.

    imap-tools fetches whole mails and parses them here, so its connection is used directly.
    """
    status, data = box.client.uid("FETCH", number, f"(BODY.PEEK[]<0.{MAX_MAIL}>)")
    content = next((part[1] for part in data or () if isinstance(part, tuple)), b"")
    return bytes(content) if status == "OK" else b""
