"""A configured channel, which sends one message to one recipient.

Each call has one recipient and one service of apprise. Apprise does not retry: it would repeat
permanent errors, and send again what may have arrived. The delivery status is certain if the server
refused before the message was handed over, or sent a reply code. Any other failure after the
connection was established means that the status is unknown.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from email.utils import parseaddr
from types import ModuleType
from typing import Any

from inventory.errors import ConfigError, UsageError
from inventory.names import mail_address
from inventory.text import printable
from notifiers.channels.results import MARK_HEADER, DeliveryStatus, OutgoingMessage, SendResult

_log = logging.getLogger(__name__)


def _services() -> ModuleType:
    """Return the module of apprise's services."""
    # It loads 183 plug-ins, which most commands do not need.
    from notifiers.channels import services

    return services


class Channel:
    """A configured channel.

    Args:
        url: The URL for apprise, with its secrets resolved.
        timeout: Seconds for one call as a whole.
        connect_timeout: Seconds without an answer of the server.

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
        self._settings = _parse(name, url, self.schema, mail=self.is_mail)
        # Apprise would invent one from the user and the host, and replies would be lost.
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

    def service(self, message: OutgoingMessage) -> Any:
        """Return the service of apprise for one message.

        Raises:
            UsageError: The address of the recipient is not valid.
            TypeError, ValueError: The service refuses its settings.
        """
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
                    # Apprise sets the Message-ID, and a second one would break threads: the mails
                    # of one notice are joined by References.
                    "References": f"<certmgr.{message.mark}@{host}>",
                    # RFC 3834: no automatic answer, such as an absence note, comes back.
                    "Auto-Submitted": "auto-generated",
                    # The same for Exchange: no absence note, and no automatic answer of a rule.
                    "X-Auto-Response-Suppress": "OOF, AutoReply",
                }
        service = _services().instantiate(settings, mail=self.is_mail)
        service.socket_connect_timeout = self.connect_timeout
        service.request_rate_per_sec = 0  # the queue limits the rate, over all recipients
        return service

    def send(self, message: OutgoingMessage) -> SendResult:
        """Send a message, and block until its status is known or the timeout has passed.

        Failures of the server are part of the result and never raise.
        """
        try:
            service = self.service(message)
        except UsageError as error:
            return SendResult(DeliveryStatus.PERMANENT, str(error), bad_address=True)
        # The fault is in the configuration, so every message of the channel would fail.
        except (TypeError, ValueError) as error:
            return SendResult(
                DeliveryStatus.PERMANENT, printable(str(error), 200), channel_down=True
            )
        result: SendResult = _services().deliver(service, message, self.timeout)
        # Neither the address nor the text is logged: logs are kept longer than contacts.
        _log.info("channel %s: %s %s", self.name, result.status, result.reason)
        return result


def preview(message: OutgoingMessage, sender: str) -> bytes:
    """Return the mail as it would be sent."""
    raw: bytes = _services().composed(message, sender)
    return raw


def enable_only(channels: Mapping[str, Channel]) -> None:
    """Load only the plug-ins of apprise for the schemes in use."""
    _services().enable_schemas(c.schema for c in channels.values())


def _parse(name: str, url: str, schema: str, *, mail: bool) -> dict[str, Any]:
    """Return the arguments of the service of a channel.

    Raises:
        ConfigError: The URL cannot be used. The error shows no part of it that may be secret.
    """
    services = _services()
    if "://" not in url or not services.knows(schema):
        # The URL is not shown, since any part of it may be the password.
        raise ConfigError(
            f"The channel '{name}' has an unknown kind",
            "its URL does not begin with a scheme that apprise knows",
            "Write mailtos://user:password@host?from=address.",
        )
    # A scheme without TLS is refused if the service has one with TLS.
    if (secure := services.unencrypted_instead_of(schema)) is not None:
        raise ConfigError(
            f"The channel '{name}' is not encrypted",
            f"{schema}:// has no TLS",
            f"Write {secure}://.",
        )
    settings: dict[str, Any] | None = services.settings_of(url)
    if settings is None:
        raise ConfigError(
            f"The URL of the channel '{name}' cannot be parsed",
            "apprise does not recognize its format",
            "Compare it with the documentation of apprise.",
        )
    for key in ("cc", "bcc", "targets") if mail else ():
        settings.pop(key, None)  # the queue sets the one recipient of each call
    # The queue retries, with a delay and a record; apprise would repeat permanent errors at once.
    settings["retry"] = 0
    try:
        services.instantiate(
            settings | ({"targets": ["check@example.com"]} if mail else {}), mail=mail
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"The URL of the channel '{name}' cannot be used",
            redacted(str(error), url),
            "Correct the URL.",
        ) from None
    return settings


def redacted(text: str, url: str) -> str:
    """Return the text without the credentials and the path of the URL."""
    # Short parts are common words such as "smtp"; removing them would make the text unreadable.
    for part in re.split(r"[/@:?&=]+", url):
        if len(part) > 3:
            text = text.replace(part, "***")
    return printable(text, 200)
