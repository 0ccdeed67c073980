"""The services of apprise. No other module imports it.

Apprise loads slowly, so :mod:`notifiers.channels.channel` imports this module when it first needs
it.
"""

from __future__ import annotations

import contextlib
import logging
import smtplib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apprise.plugins
from apprise import Apprise, AppriseAsset, AppriseAttachment, AppriseResultStatus, NotifyType
from apprise.attachment.memory import AttachMemory
from apprise.manager_plugins import NotificationManager
from apprise.plugins.email.base import NotifyEmail

from notifiers.channels.bounded_answers import Bounded
from notifiers.channels.invitation_part import with_invitation
from notifiers.channels.results import MARK_HEADER, DeliveryStatus, OutgoingMessage, SendResult
from notifiers.channels.smtp import (
    SMTP_ERRORS,
    SmtpFailure,
    SmtpStage,
    failure_of,
    mail_result,
)
from notifiers.channels.webhook import RELEVANT_LINE, redirect_result, webhook_result
from notifiers.mail_sessions import connect_smtp
from notifiers.tls_sockets import system_trust

MAX_LOG_LINES, MAX_LOG_LINE = 50, 1000


class RecordingMail(NotifyEmail):  # type: ignore[no-untyped-call]
    """Apprise's mail service, which keeps what the server replied.

    The service of apprise only logs a reply, so its ``send`` is replaced. Composition, addresses
    and settings stay those of apprise.

    Attributes:
        failures: Recipient -> why the message was not accepted. Empty if all accepted it, and
            before ``send``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)  # type: ignore[no-untyped-call]
        self.failures: dict[str, SmtpFailure] = {}

    def send(
        self,
        body: str,
        title: str = "",
        notify_type: Any = NotifyType.INFO,
        attach: Any = None,
        body_format: Any = None,
        **_: Any,
    ) -> bool:
        """Send the message to each target, and return whether all were accepted."""
        self.failures = {}
        messages = list(
            NotifyEmail.prepare_emails(
                subject=title,
                body=body,
                notify_format=self.resolve_format(body_format),
                from_addr=self.from_addr,
                to=self.targets,
                cc=self.cc,
                bcc=self.bcc,
                reply_to=self.reply_to,
                smtp_host=self.smtp_host,
                attach=attach,
                headers={"X-Application": self.app_id, **self.headers},
                names=self.names,
                pgp=self.pgp,
                pgp_mode=self.pgp_mode,
                inline=self.inline,
                tzinfo=self.tzinfo,
            )
        )
        try:
            # One connection per message: the queue limits the rate, and a shared one would lose all
            # its messages at once.
            connection = self._connect()
        except SMTP_ERRORS as error:
            failure = failure_of(error, SmtpStage.SESSION)
            self.failures = {m.recipient: failure for m in messages}
            return False
        try:
            for message in messages:
                try:
                    composed_mail = with_invitation(message.body)
                    connection.sendmail(str(self.from_addr[1]), message.to_addrs, composed_mail)
                except SMTP_ERRORS as error:
                    self.failures[message.recipient] = failure_of(error, SmtpStage.MESSAGE)
        finally:
            _quit(connection)
        return not self.failures

    def _connect(self) -> smtplib.SMTP:
        """Connect, begin TLS and log in.

        Raises:
            OSError, smtplib.SMTPException: The server cannot be used.
        """
        # ?verify=no in the URL of the channel
        context = system_trust(verify=bool(self.verify_certificate))
        timeout, port = float(self.socket_connect_timeout), int(self.port or 0)
        starttls = self.secure_mode != "ssl"
        connection = connect_smtp(self.smtp_host, port, timeout, context, starttls=starttls)
        try:
            if starttls:
                # Without TLS the password would be sent in clear, so a failure ends the session.
                connection.starttls(context=context)
            # An internal relay may accept mail without a login.
            if self.user and self.password:
                connection.login(self.user, self.password)
        except BaseException:
            _quit(connection)
            raise
        return connection


def _quit(connection: smtplib.SMTP) -> None:
    """End a session. The status of its messages is known by then, whatever the server does."""
    with contextlib.suppress(*SMTP_ERRORS):
        connection.quit()
    connection.close()


def knows(schema: str) -> bool:
    """Return whether apprise has a service for the scheme of a URL."""
    return schema in _manager()


def unencrypted_instead_of(schema: str) -> str | None:
    """Return the scheme with TLS of a service, if ``schema`` is its scheme without TLS."""
    plugin = _manager()[schema]
    secure = _schemes(plugin.secure_protocol)
    return (
        secure[0]
        if schema in _schemes(plugin.protocol) and secure and schema not in secure
        else None
    )


def _schemes(value: str | Iterable[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def settings_of(url: str) -> dict[str, Any] | None:
    """Return the arguments of the service that a URL describes. None if it cannot be parsed."""
    parse = apprise.plugins.url_to_dict
    settings = parse(url, secure_logging=True)  # type: ignore[no-untyped-call]
    return dict(settings) if settings else None


def instantiate(settings: Mapping[str, Any], *, mail: bool) -> Any:
    """Return a service.

    Raises:
        TypeError, ValueError, AttributeError: The service refuses its settings.
    """
    if mail:
        return RecordingMail(**settings, asset=_asset())
    return Apprise.instantiate(dict(settings), asset=_asset(), suppress_exceptions=False)


def enable_schemas(schemas: Iterable[str]) -> None:
    """Load only the plug-ins of these schemes."""
    _manager().enable_only(*set(schemas))


def _manager() -> Any:
    return NotificationManager()  # type: ignore[no-untyped-call]


def _asset() -> AppriseAsset:
    # The default limit of the library would cut a longer configured one to 60 seconds.
    return AppriseAsset(
        app_id="certmgr",
        app_desc="certmgr",
        app_url="",
        async_mode=False,
        secure_logging=True,
        service_timeout=0,
        # Attachments and other requests that are not part of a call of a service.
        http_redirects=False,
    )


def deliver(service: Any, message: OutgoingMessage, timeout: float) -> SendResult:
    """Send a message through one service, and wait for its result.

    Args:
        service: The service, for one recipient.
        timeout: Seconds after which the status is unknown.
    """
    is_mail = isinstance(service, RecordingMail)
    sending = Bounded(service.send, timeout)
    if not is_mail:
        # The library calls it in a thread.
        service.send = sending
    holder = Apprise(asset=_asset())
    holder.add(service)
    # Apprise makes the plain part of a mail from the HTML; chats show plain text.
    body, body_format = (message.html, "html") if is_mail else (message.text, "text")
    _keep_log_apart()
    result: Any = holder.notify(
        body=body,
        title=message.subject,
        body_format=body_format,
        timeout=timeout,
        log_level=logging.DEBUG,
        attach=_attachments(message.calendar) if is_mail else None,
    )
    match result.status:
        case AppriseResultStatus.SUCCESS:
            return SendResult(DeliveryStatus.SENT)
        # The call goes on in its thread, and may still hand the message over.
        case AppriseResultStatus.TIMEOUT:
            return SendResult(
                DeliveryStatus.UNKNOWN,
                f"the call did not end within {timeout:.0f} seconds",
                channel_down=True,
            )
        case AppriseResultStatus.NOMATCH:
            return SendResult(
                DeliveryStatus.PERMANENT, "apprise has no service for this URL", channel_down=True
            )
    if is_mail:
        failure = next(iter(service.failures.values()), SmtpFailure(SmtpStage.MESSAGE))
        return mail_result(failure)
    if sending.refused:
        return redirect_result(sending.refused[0].code, sending.refused[0].origin)
    lines = [str(entry.message)[:MAX_LOG_LINE] for entry in result.logs()]
    return webhook_result([line for line in lines if RELEVANT_LINE.search(line)][:MAX_LOG_LINES])


def _attachments(calendar: Sequence[str]) -> Any:
    """Return the attachments, in memory only: apprise opens no file and no URL for them."""
    if not calendar:
        return None
    files: Any = AppriseAttachment()
    for number, text in enumerate(calendar):
        name = "window.ics" if number == 0 else f"window-{number + 1}.ics"
        data, kind = text.encode(), "text/calendar"
        part = AttachMemory(content=data, name=name, mimetype=kind)  # type: ignore[no-untyped-call]
        files.add(part)
    return files


def _keep_log_apart() -> None:
    """Keep the log of apprise away from other handlers.

    The result of a webhook is logged at DEBUG only, and so are message bodies.
    """
    logger = logging.getLogger("apprise")
    if logger.propagate:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


def composed(message: OutgoingMessage, sender: str) -> bytes:
    """Return the mail as it would be sent."""
    messages = NotifyEmail.prepare_emails(
        subject=message.subject,
        body=message.html,
        notify_format="html",
        from_addr=(False, sender),
        to=[(False, message.to)],
        headers={MARK_HEADER: message.mark},
        smtp_host=sender.rpartition("@")[2],
    )
    return str(next(iter(messages)).body).encode()
