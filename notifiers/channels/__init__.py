"""The transport of messages: a configured channel, and what became of a message.

``channel`` sends, ``results`` has the values that go in and come out, ``smtp`` and ``webhook``
decide the delivery status from what the server replied, and ``services`` is the only module that
imports apprise.
"""

from notifiers.channels.channel import Channel, enable_only, preview
from notifiers.channels.results import MARK_HEADER, DeliveryStatus, OutgoingMessage, SendResult

__all__ = [
    "MARK_HEADER",
    "Channel",
    "DeliveryStatus",
    "OutgoingMessage",
    "SendResult",
    "enable_only",
    "preview",
]
