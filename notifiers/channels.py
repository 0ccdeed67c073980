"""The transport of messages. No other module imports apprise.

Each call has one recipient and one Apprise object. Apprise does not retry: it would repeat
permanent errors, and send again what may have arrived. The delivery status is derived from the
log of apprise. It is certain if the server refused before the message was handed over, or sent a
reply code. Any other failure after the connection was established means that the status is unknown.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from enum import StrEnum
from typing import Any

from inventory.errors import ConfigError, UsageError
from inventory.names import mail_address
from inventory.text import printable


class DeliveryStatus(StrEnum):
    """The delivery status of a message.

    Attributes:
        SENT: The server accepted it.
        TEMPORARY: It was certainly not sent. A later attempt may succeed.
        PERMANENT: It was certainly not sent, and another attempt would fail too.
        UNKNOWN: It may have arrived.
    """

    SENT = "sent"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of one call.

    Attributes:
        code: The reply code of SMTP or HTTP.
        bad_address: The server reported that the recipient does not exist.
        channel_down: The channel itself failed, so that the next message would fail too.
    """

    status: DeliveryStatus
    reason: str = ""
    code: int | None = None
    bad_address: bool = False
    channel_down: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message that is ready to be sent.

    Attributes:
        mark: Identifies the notice in a bounce (X-Certmgr-Notice) and in a reply (References).
        calendar: iCalendar files to attach to a mail.
    """

    to: str
    subject: str
    text: str
    html: str
    mark: str = ""
    calendar: tuple[str, ...] = ()


MARK_HEADER = "X-Certmgr-Notice"


class Channel:
    """A configured channel.

    Args:
        url: The URL for apprise, with its secrets resolved.

    Raises:
        ConfigError: The URL cannot be used.
    """

    def __init__(
        self, name: str, url: str, *, timeout: float = 60.0, connect_timeout: float = 15.0
    ) -> None:
        self.name, self.timeout, self.connect_timeout = name, timeout, connect_timeout
        self.schema = url.partition("://")[0].lower()
        self.is_mail = self.schema.startswith("mailto")
        # apprise would accept these URLs and log in without TLS.
        if self.schema == "mailto":
            raise ConfigError(
                f"The channel '{name}' would send its password in clear",
                "mailto:// has no TLS",
                "Write mailtos://.",
            )
        self._settings = _parse(name, url, self.schema)
        if self.is_mail and not self._settings.get("from_addr"):
            raise ConfigError(
                f"The channel '{name}' has no sender", "", "Add ?from=address to its URL."
            )
        if self.is_mail and self._settings.get("secure_mode", "starttls") == "insecure":
            raise ConfigError(
                f"The channel '{name}' would send its password in clear",
                "mode=insecure",
                "Write mode=starttls or mode=ssl.",
            )

    @property
    def sender(self) -> str:
        """The From address of a mail channel."""

        return parseaddr(str(self._settings.get("from_addr", "")))[1]

    @property
    def server(self) -> tuple[str, int, str]:
        """Host, port and mode (starttls or ssl) of a mail channel."""
        mode = str(self._settings.get("secure_mode") or "starttls")
        host = str(self._settings.get("smtp_host") or self._settings.get("host"))
        return host, int(self._settings.get("port") or (465 if mode == "ssl" else 587)), mode

    def _service(self, message: OutgoingMessage) -> Any:
        """Return the apprise service for one message."""
        from apprise import Apprise

        settings = dict(self._settings)
        if self.is_mail:
            host = self.sender.rpartition("@")[2] or "certmgr.invalid"
            # Apprise silently drops an address that it considers invalid, and then writes to the
            # sender. So the address is validated here.
            settings["targets"] = [mail_address(message.to)]
            settings["headers"] = dict(settings.get("headers") or {})
            if message.mark:
                settings["headers"] |= {
                    MARK_HEADER: message.mark,
                    "References": f"<certmgr.{message.mark}@{host}>",
                    "Auto-Submitted": "auto-generated",
                }
        service: Any = Apprise.instantiate(settings, asset=_asset(), suppress_exceptions=False)
        service.socket_connect_timeout = self.connect_timeout
        service.request_rate_per_sec = 0  # the queue limits the rate, over all recipients
        return service

    def send(self, message: OutgoingMessage) -> SendResult:
        """Send a message, and block until its status is known or the timeout has passed.

        Failures of the server are part of the result and never raise.
        """
        from apprise import Apprise, AppriseResultStatus

        try:
            service = self._service(message)
        except UsageError as error:
            return SendResult(DeliveryStatus.PERMANENT, str(error), bad_address=True)
        except (TypeError, ValueError) as error:
            return SendResult(
                DeliveryStatus.PERMANENT, printable(str(error), 200), channel_down=True
            )
        holder = Apprise(asset=_asset())
        holder.add(service)
        body, body_format = (message.html, "html") if self.is_mail else (message.text, "text")
        _prepare_log()
        attached = _attachments(message) if self.is_mail else None
        result = holder.notify(
            body=body,
            title=message.subject,
            body_format=body_format,
            timeout=self.timeout,
            log_level=logging.DEBUG,
            attach=attached,
        )
        lines = [
            text[:1000]
            for entry in result.logs()
            if _RELEVANT_LINE.search(text := str(entry.message))
        ][:50]
        if result.status == AppriseResultStatus.SUCCESS:
            return SendResult(DeliveryStatus.SENT)
        if result.status == AppriseResultStatus.TIMEOUT:
            return SendResult(
                DeliveryStatus.UNKNOWN,
                f"the call did not end within {self.timeout:.0f} seconds",
                channel_down=True,
            )
        if result.status == AppriseResultStatus.NOMATCH:
            return SendResult(
                DeliveryStatus.PERMANENT, "apprise has no service for this URL", channel_down=True
            )
        return classify_failure(lines, mail=self.is_mail)


def _attachments(message: OutgoingMessage) -> Any:
    """Return the attachments, in memory only: apprise opens no file and no URL for them."""
    from apprise import AppriseAttachment
    from apprise.attachment.memory import AttachMemory

    if not message.calendar:
        return None
    files: Any = AppriseAttachment()
    for number, text in enumerate(message.calendar):
        name = "window.ics" if number == 0 else f"window-{number + 1}.ics"
        kind = "text/calendar"
        data = text.encode()
        file = AttachMemory(content=data, name=name, mimetype=kind)  # type: ignore[no-untyped-call]
        files.add(file)
    return files


def preview(message: OutgoingMessage, sender: str) -> bytes:
    """Return the mail as apprise would send it."""
    from apprise.plugins.email.base import NotifyEmail

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


def _asset() -> Any:
    from apprise import AppriseAsset

    # The default limit of the library would cut a longer configured one to 60 seconds.
    return AppriseAsset(
        app_id="certmgr",
        app_desc="certmgr",
        app_url="",
        async_mode=False,
        secure_logging=True,
        service_timeout=0,
    )


def _parse(name: str, url: str, schema: str) -> dict[str, Any]:
    import apprise.plugins
    from apprise.manager_plugins import NotificationManager

    manager: Any = NotificationManager()  # type: ignore[no-untyped-call]
    if "://" not in url or schema not in manager:
        # The URL is not shown, since any part of it may be the password.
        why = "its URL does not begin with a scheme that apprise knows"
        raise ConfigError(
            f"The channel '{name}' has an unknown kind",
            why,
            "Write mailtos://user:password@host?from=address.",
        )
    plugin = manager[schema]
    # A scheme without TLS is refused if the service has one with TLS.
    secure = _schemes(plugin.secure_protocol)
    if schema in _schemes(plugin.protocol) and secure and schema not in secure:
        raise ConfigError(
            f"The channel '{name}' is not encrypted",
            f"{schema}:// has no TLS",
            f"Write {secure[0]}://.",
        )
    parsed = apprise.plugins.url_to_dict
    settings = parsed(url, secure_logging=True)  # type: ignore[no-untyped-call]
    if not settings:
        raise ConfigError(
            f"The URL of the channel '{name}' cannot be parsed",
            "apprise does not recognize its format",
            "Compare it with the documentation of apprise.",
        )
    settings = dict(settings)
    for key in ("cc", "bcc", "targets") if schema.startswith("mailto") else ():
        settings.pop(key, None)  # the queue sets the one recipient of each call
    settings["retry"] = 0
    try:
        from apprise import Apprise

        test = settings | (
            {"targets": ["check@example.com"]} if schema.startswith("mailto") else {}
        )
        Apprise.instantiate(test, asset=_asset(), suppress_exceptions=False)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"The URL of the channel '{name}' cannot be used",
            redacted(str(error), url),
            "Correct the URL.",
        ) from None
    return settings


def _schemes(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def enable_only(channels: Mapping[str, Channel]) -> None:
    """Load only the apprise plug-ins of the schemes in use."""
    from apprise.manager_plugins import NotificationManager

    manager: Any = NotificationManager()  # type: ignore[no-untyped-call]
    manager.enable_only(*{c.schema for c in channels.values()})


def redacted(text: str, url: str) -> str:
    """Return the text without the credentials and the path of the URL."""
    # Short parts are common words such as "smtp"; removing them would make the text unreadable.
    for part in re.split(r"[/@:?&=]+", url):
        if len(part) > 3:
            text = text.replace(part, "***")
    return printable(text, 200)


# -- the log of apprise


# Only these lines are read. Other lines contain message bodies.
_RELEVANT_LINE = re.compile(
    r"Socket Exception|was refused|Connection error|error=\d+|no Email recipients|occurr?ed"
    r" sending",
    re.I,
)


def _prepare_log() -> None:
    """Keep the log of apprise away from other handlers.

    Reply codes are logged at DEBUG only, and so are message bodies.
    """
    logger = logging.getLogger("apprise")
    if logger.propagate:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


_SMTP_CODE = re.compile(r"\(\s*([2-9]\d\d)\s*,")
_REFUSED_CODE = re.compile(r"was refused: ([245]\d\d)")
_HTTP_CODE = re.compile(r"error=(\d{3})")
_NO_SUCH_RECIPIENT = re.compile(
    r"\b5\.1\.(?:1|2|3|6|10)\b|no such user|user unknown|unknown user|does not exist|mailbox"
    r" unavailable",
    re.I,
)
# These failures happen before any part of the message is handed over.
_NOT_HANDED_OVER = re.compile(
    r"connection refused|errno 111|name or service not known|errno -[235]\b|no route to"
    r" host|network is unreachable|certificate verify"
    r" failed|newconnectionerror|connecttimeout|connect timeout|starttls extension not supported",
    re.I,
)


def classify_failure(lines: list[str], *, mail: bool) -> SendResult:
    """Return the result of a failed call, from the lines that apprise logged. Pure."""
    text = "\n".join(lines)
    return _classify_mail_failure(text) if mail else _classify_http_failure(text)


def _classify_mail_failure(text: str) -> SendResult:
    shown = printable(" ".join(text.split()), 300)
    if "Connection error while submitting" in text:
        # This covers everything before the first recipient: connection, greeting, STARTTLS, login.
        code = _first_code(_SMTP_CODE, text)
        return SendResult(
            DeliveryStatus.TEMPORARY,
            f"the mail server could not be used: {_server_reply(shown)}",
            code,
            channel_down=True,
        )
    code = _first_code(_SMTP_CODE, text) or _first_code(_REFUSED_CODE, text)
    if code is None:
        return SendResult(
            DeliveryStatus.UNKNOWN,
            f"the SMTP session ended without a reply: {_server_reply(shown)}",
            channel_down="timed out" in text,
        )
    if 400 <= code < 500:
        return SendResult(DeliveryStatus.TEMPORARY, _server_reply(shown), code)
    # smtplib reports a refused recipient as a dictionary, and a refused message as a bare pair.
    # A 5.7 status is a policy (RFC 3463, section 3.8), so the address may be valid.
    recipient = "{'" in text or "was refused" in text
    bad = (
        recipient
        and (code in (550, 551, 553) or bool(_NO_SUCH_RECIPIENT.search(text)))
        and not re.search(r"\b5\.7\.", text)
    )
    return SendResult(DeliveryStatus.PERMANENT, _server_reply(shown), code, bad_address=bad)


def _classify_http_failure(text: str) -> SendResult:
    shown = printable(" ".join(text.split()), 300)
    code = _first_code(_HTTP_CODE, text)
    if code is not None:
        is_temporary = code in (408, 425, 429) or code >= 500
        return SendResult(
            DeliveryStatus.TEMPORARY if is_temporary else DeliveryStatus.PERMANENT,
            f"HTTP {code}",
            code,
            channel_down=not is_temporary,
        )
    if _NOT_HANDED_OVER.search(text):
        return SendResult(
            DeliveryStatus.TEMPORARY,
            f"the webhook could not be reached: {_server_reply(shown)}",
            channel_down=True,
        )
    return SendResult(
        DeliveryStatus.UNKNOWN, f"no answer: {_server_reply(shown)}", channel_down=True
    )


def _first_code(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return int(match[1]) if match else None


_REPLY = re.compile(r"\((\d{3}), b?['\"](.*?)['\"]\)")


def _server_reply(text: str) -> str:
    """Return the server's reply without recipient addresses and Python's brackets."""
    text = re.sub(r"[^\s'\"<>{}]+@[^\s'\"<>{}:]+", "the recipient", text)
    if (reply := _REPLY.search(text)) is not None:
        return f"the server replied {reply[1]} {reply[2]}"[:200]
    return text.replace("Socket Exception: ", "")[:200]
