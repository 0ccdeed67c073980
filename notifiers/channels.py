"""The transport: apprise, and nothing of it anywhere else.

One recipient a call, one Apprise object a recipient, no retry of its own (it would repeat permanent
errors, and send again what may have arrived). What became of a message is told apart by what
apprise logs: a refusal before anything was handed over, or a reply code, is certain; everything
else after the connection stood means that nobody knows.
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
    SENT = "sent"
    TEMPORARY = "temporary"  # certainly not sent; later it may be
    PERMANENT = "permanent"  # certainly not sent; it never will be like this
    UNKNOWN = "unknown"  # it may have arrived


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one call.

    ``code``: of SMTP or HTTP. ``bad_address``: the server says that the recipient does not exist.
    ``channel_down``: the channel itself failed, so that the next message would too.
    """

    fate: DeliveryStatus
    reason: str = ""
    code: int | None = None
    bad_address: bool = False
    channel_down: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """``mark``: comes back in a bounce (X-Certmgr-Notice) and in a reply (References)."""

    to: str
    subject: str
    text: str
    html: str
    mark: str = ""
    calendar: tuple[str, ...] = ()  # iCalendar files that are attached to a mail


MARK_HEADER = "X-Certmgr-Notice"


class Channel:
    """One configured way out.

    ``url``: apprise's, its secrets resolved. Raises :class:`ConfigError` for a URL that cannot be
    used.
    """

    def __init__(
        self, name: str, url: str, *, timeout: float = 60.0, connect_timeout: float = 15.0
    ) -> None:
        self.name, self.timeout, self.connect_timeout = name, timeout, connect_timeout
        self.schema = url.partition("://")[0].lower()
        self.is_mail = self.schema.startswith("mailto")
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
        """The address in From, of a mail channel."""

        return parseaddr(str(self._settings.get("from_addr", "")))[1]

    @property
    def server(self) -> tuple[str, int, str]:
        """(host, port, starttls or ssl) of a mail channel."""
        mode = str(self._settings.get("secure_mode") or "starttls")
        host = str(self._settings.get("smtp_host") or self._settings.get("host"))
        return host, int(self._settings.get("port") or (465 if mode == "ssl" else 587)), mode

    def _service(self, message: OutgoingMessage) -> Any:
        from apprise import Apprise

        settings = dict(self._settings)
        if self.is_mail:
            host = self.sender.rpartition("@")[2] or "certmgr.invalid"
            # Apprise drops an address that it does not like without a word, and then writes to the
            # sender.
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
        service.request_rate_per_sec = 0  # the queue keeps the rate, over all recipients
        return service

    def send(self, message: OutgoingMessage) -> SendResult:
        """Blocks until it is known, or ``timeout`` seconds. Never raises for what a server does."""
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
        body, form = (message.html, "html") if self.is_mail else (message.text, "text")
        _prepare_log()
        attached = _attachments(message) if self.is_mail else None
        result = holder.notify(
            body=body,
            title=message.subject,
            body_format=form,
            timeout=self.timeout,
            log_level=logging.DEBUG,
            attach=attached,
        )
        lines = [
            text[:1000] for entry in result.logs() if _TELLING.search(text := str(entry.message))
        ][:50]
        if result.status == AppriseResultStatus.SUCCESS:
            return SendResult(DeliveryStatus.SENT)
        if result.status == AppriseResultStatus.TIMEOUT:
            return SendResult(
                DeliveryStatus.UNKNOWN,
                f"no end after {self.timeout:.0f} seconds",
                channel_down=True,
            )
        if result.status == AppriseResultStatus.NOMATCH:
            return SendResult(
                DeliveryStatus.PERMANENT, "apprise found no service for it", channel_down=True
            )
        return judge(lines, mail=self.is_mail)


def _attachments(message: OutgoingMessage) -> Any:
    """In memory alone: no file and no URL is ever opened for one."""
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
    """The mail as apprise would hand it over."""
    from apprise.plugins.email.base import NotifyEmail

    made = NotifyEmail.prepare_emails(
        subject=message.subject,
        body=message.html,
        notify_format="html",
        from_addr=(False, sender),
        to=[(False, message.to)],
        headers={MARK_HEADER: message.mark},
        smtp_host=sender.rpartition("@")[2],
    )
    return str(next(iter(made)).body).encode()


def _asset() -> Any:
    from apprise import AppriseAsset

    # No limit of the library's own: it would cut a longer one of the configuration to 60 seconds.
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
        # Nothing of it is shown: what stands there may be the password.
        why = "its URL does not begin with a scheme that apprise knows"
        raise ConfigError(
            f"The channel '{name}' has an unknown kind",
            why,
            "Write mailtos://user:password@host?from=address.",
        )
    plugin = manager[schema]
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
            f"The URL of the channel '{name}' cannot be read",
            "apprise does not understand it",
            "Compare it with apprise's documentation.",
        )
    settings = dict(settings)
    for key in ("cc", "bcc", "targets") if schema.startswith("mailto") else ():
        settings.pop(key, None)  # one recipient a call, chosen by the queue
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
            "Correct it.",
        ) from None
    return settings


def _schemes(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def only(channels: Mapping[str, Channel]) -> None:
    """Loads the plug-ins of the schemes in use and no others."""
    from apprise.manager_plugins import NotificationManager

    manager: Any = NotificationManager()  # type: ignore[no-untyped-call]
    manager.enable_only(*{c.schema for c in channels.values()})


def redacted(text: str, url: str) -> str:
    """``text`` without the credentials of the URL (between // and @) and its path."""
    for part in re.split(r"[/@:?&=]+", url):
        if len(part) > 3:
            text = text.replace(part, "***")
    return printable(text, 200)


# -- what the log says


# Of everything that is logged these lines are read; bodies stand in others.
_TELLING = re.compile(
    r"Socket Exception|was refused|Connection error|error=\d+|no Email recipients|occurr?ed"
    r" sending",
    re.I,
)


def _prepare_log() -> None:
    """Reply codes are logged at DEBUG only, where bodies are too: nothing of that logger may reach
    another handler.
    """
    logger = logging.getLogger("apprise")
    if logger.propagate:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


_SMTP_CODE = re.compile(r"\(\s*([2-9]\d\d)\s*,")
_REFUSED_CODE = re.compile(r"was refused: ([245]\d\d)")
_HTTP_CODE = re.compile(r"error=(\d{3})")
_NO_SUCH = re.compile(
    r"\b5\.1\.(?:1|2|3|6|10)\b|no such user|user unknown|unknown user|does not exist|mailbox"
    r" unavailable",
    re.I,
)
# Said before anything of the message was handed over.
_BEFORE = re.compile(
    r"connection refused|errno 111|name or service not known|errno -[235]\b|no route to"
    r" host|network is unreachable|certificate verify"
    r" failed|newconnectionerror|connecttimeout|connect timeout|starttls extension not supported",
    re.I,
)


def judge(lines: list[str], *, mail: bool) -> SendResult:
    """What became of a failed call, from what apprise logged of it. Pure."""
    text = "\n".join(lines)
    return _judge_mail(text) if mail else _judge_http(text)


def _judge_mail(text: str) -> SendResult:
    shown = printable(" ".join(text.split()), 300)
    if "Connection error while submitting" in text:
        # The whole dialogue before the first recipient: connection, greeting, STARTTLS, login.
        code = _first(_SMTP_CODE, text)
        return SendResult(
            DeliveryStatus.TEMPORARY,
            f"the mail server could not be used: {_after(shown)}",
            code,
            channel_down=True,
        )
    code = _first(_SMTP_CODE, text) or _first(_REFUSED_CODE, text)
    if code is None:
        return SendResult(
            DeliveryStatus.UNKNOWN,
            f"the dialogue broke off without a reply: {_after(shown)}",
            channel_down="timed out" in text,
        )
    if 400 <= code < 500:
        return SendResult(DeliveryStatus.TEMPORARY, _after(shown), code)
    # A dictionary of recipients is a refusal of the recipient; a bare pair that of the message.
    recipient = "{'" in text or "was refused" in text
    bad = (
        recipient
        and (code in (550, 551, 553) or bool(_NO_SUCH.search(text)))
        and not re.search(r"\b5\.7\.", text)
    )
    return SendResult(DeliveryStatus.PERMANENT, _after(shown), code, bad_address=bad)


def _judge_http(text: str) -> SendResult:
    shown = printable(" ".join(text.split()), 300)
    code = _first(_HTTP_CODE, text)
    if code is not None:
        passing = code in (408, 425, 429) or code >= 500
        return SendResult(
            DeliveryStatus.TEMPORARY if passing else DeliveryStatus.PERMANENT,
            f"HTTP {code}",
            code,
            channel_down=not passing,
        )
    if _BEFORE.search(text):
        return SendResult(
            DeliveryStatus.TEMPORARY,
            f"the hook could not be reached: {_after(shown)}",
            channel_down=True,
        )
    return SendResult(DeliveryStatus.UNKNOWN, f"no answer: {_after(shown)}", channel_down=True)


def _first(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return int(match[1]) if match else None


_REPLY = re.compile(r"\((\d{3}), b?['\"](.*?)['\"]\)")


def _after(text: str) -> str:
    """The server's reply, without the address of the recipient and without Python's brackets."""
    text = re.sub(r"[^\s'\"<>{}]+@[^\s'\"<>{}:]+", "the recipient", text)
    if (reply := _REPLY.search(text)) is not None:
        return f"the server said {reply[1]} {reply[2]}"[:200]
    return text.replace("Socket Exception: ", "")[:200]
