"""Build rules, channels and templates of notices from the configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, time
from email.utils import parseaddr
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from certmgr.config.secret_values import secret
from certmgr.config.settings import NotifySettings, Settings
from inventory.countries import is_known_country
from inventory.errors import ConfigError
from notifiers.channels import Channel, enable_only
from notifiers.pipeline.message import Sender
from notifiers.pipeline.notice_settings import NoticeSettings
from notifiers.pipeline.plan import NoticePolicy
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.template_samples import SAMPLES
from notifiers.pipeline.thresholds import BEFORE, ThresholdRules
from notifiers.wording.catalogue import available
from notifiers.working_days import ChangeFreeze

MAIL = "mail"


def rules_of(settings: Settings) -> NoticeSettings:
    """Return the rules of notices.

    Raises:
        ConfigError: A value of the configuration is invalid.
    """
    notify, provider = settings.notify, settings.provider
    # Checked here: with an unknown calendar, a holiday would count as a working day.
    if notify.country and not is_known_country(notify.country):
        raise ConfigError(
            f"[notify] country '{notify.country}' is unknown",
            "there is no holiday calendar for it",
            "Write a code such as DE or DE-BY.",
        )
    policy = NoticePolicy(
        thresholds=thresholds(notify.thresholds),
        freezes=freezes(notify.freezes),
        escalate_after_days=notify.escalate_after_days,
        escalate_near_after_days=notify.escalate_near_after_days,
        ack_days=notify.ack_days,
        status_update_days=notify.status_update_days,
        mass_percent=notify.mass_percent,
        mass_least=notify.mass_least,
    )
    opens, closes = _hour(notify.opens, "opens"), _hour(notify.closes, "closes")
    # Both are hours of one day. A range over midnight would send notices at night.
    if opens >= closes:
        raise ConfigError(
            f"[notify] opens is {notify.opens} and closes is {notify.closes}",
            "clients would never get a message",
            "Set opens to a time before closes.",
        )
    return NoticeSettings(
        policy=policy,
        sender=Sender(provider.name, notify.answer, notify.offers, _sender(notify.mail)),
        zone=ZoneInfo(provider.time_zone),
        zone_name=provider.time_zone,
        language=provider.language,
        country=notify.country,
        hours=(opens, closes),
        weekdays=_weekdays(notify.working_days),
        confirm_above=notify.confirm_above,
        digest_hour=notify.digest_hour,
    )


def _sender(mail: str) -> str:
    """Return the From address of mail, which is the organizer of calendar entries.

    Errors in the URL are reported when the channel is built.
    """
    try:
        url = urlsplit(secret(mail)) if mail else urlsplit("")
        from_address = parse_qs(url.query).get("from", [""])[0]
    except (ConfigError, ValueError):
        from_address = ""
    # RFC 2606 reserves .invalid, so that no answer can reach the mailbox of a third party.
    return parseaddr(from_address)[1] or "noreply@certmgr.invalid"


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _weekdays(names: Sequence[str]) -> frozenset[int]:
    # A misspelt day that was ignored would become a day without messages.
    if not names or not set(names) <= set(_DAYS):
        raise ConfigError(
            "[notify] working_days is invalid",
            f"it must contain days of {', '.join(_DAYS)}",
            "Name at least one day.",
        )
    return frozenset(_DAYS.index(n) for n in names)


def _hour(text: str, name: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"[notify] {name} is '{text}'", "it must be a time of day", "Write it as in 08:00."
        ) from None


def thresholds(lines: Sequence[str]) -> ThresholdRules:
    """Parse threshold lines: ``60,30,7``, ``tag:NAME=...`` or ``client:NUMBER=...``."""
    before: tuple[int, ...] = BEFORE
    by_client: dict[str, tuple[int, ...]] = {}
    by_tag: dict[str, tuple[int, ...]] = {}
    for line in lines:
        scope, equals, days = line.rpartition("=")
        numbers = [n.strip() for n in days.split(",")]
        # A public certificate lasts 398 days at most, so a longer threshold is a typing error.
        # str.isdigit accepts digits of all scripts, hence the restriction to ASCII.
        if not all(n.isascii() and n.isdigit() and int(n) <= 400 for n in numbers):
            raise ConfigError(
                f"[notify] thresholds has '{line[:80]}'",
                "thresholds must be whole numbers of days up to 400",
                "Write them as in 60,30,14,7,3,1,0.",
            )
        # Duplicates are removed, and the longest threshold comes first.
        values = tuple(sorted({int(n) for n in numbers}, reverse=True))
        kind, _, name = scope.partition(":")
        if not equals:
            before = values
        elif kind == "client" and name:
            by_client[name] = values
        elif kind == "tag" and name:
            by_tag[name] = values
        else:
            raise ConfigError(
                f"[notify] thresholds has '{line[:80]}'",
                "its scope must be a tag or a client",
                "Write tag:NAME=30,7 or client:NUMBER=30,7.",
            )
    return ThresholdRules(before, by_client, by_tag)


def freezes(lines: Sequence[str]) -> tuple[ChangeFreeze, ...]:
    """Parse change freezes: a day, or first and last day separated by a slash."""
    result = []
    for line in lines:
        first, slash, last = line.partition("/")
        try:
            freeze = ChangeFreeze(
                date.fromisoformat(first.strip()),
                date.fromisoformat(last.strip() if slash else first.strip()),
            )
        except ValueError:
            raise ConfigError(
                f"[notify] freezes has '{line[:60]}'",
                "it must have one or two dates",
                "Write it as in 2026-12-20/2027-01-06.",
            ) from None
        # A freeze of over 120 days is most likely a wrong year, and each run would have to gather
        # what ends that much later.
        if freeze.last < freeze.first or (freeze.last - freeze.first).days > 120:
            raise ConfigError(
                f"[notify] freezes has '{line[:60]}'",
                "it ends before it begins, or is longer than 120 days",
                "Correct its dates.",
            )
        result.append(freeze)
    return tuple(result)


def channels_of(notify: NotifySettings) -> dict[str, Channel]:
    """Return the configured channels by name; mail is ``mail``.

    Secrets are resolved here and stored only in the channels.
    """
    result: dict[str, Channel] = {}
    if notify.mail:
        result[MAIL] = Channel(
            MAIL,
            secret(notify.mail),
            timeout=notify.timeout,
            connect_timeout=min(15.0, notify.timeout),
        )
        # Notices contain the data of one client each. Any other kind of channel would deliver the
        # notices of all clients to one place.
        if not result[MAIL].is_mail:
            raise ConfigError(
                "[notify] mail is not a mail channel",
                f"its scheme is {result[MAIL].schema}://",
                "Write mailtos://user:password@host?from=address.",
            )
    for line in notify.channels:
        name, equals, url = line.partition("=")
        name = name.strip()
        if (
            not equals
            or not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name)
            # A stored message refers to its channel by name, so no two channels may share one.
            or name == MAIL
            or name in result
        ):
            raise ConfigError(
                f"[notify] channels has '{name[:40]}'",
                "each is name=URL, and names must be unique",
                "Write it as in desk=env:DESK_URL.",
            )
        channel = Channel(
            name,
            secret(url.strip()),
            timeout=notify.timeout,
            connect_timeout=min(15.0, notify.timeout),
        )
        # Mail always goes through [notify] mail, to the address of each contact.
        if channel.is_mail:
            raise ConfigError(
                f"The channel '{name}' is a mail channel",
                "mail goes to the address of each contact",
                "Configure it as [notify] mail.",
            )
        result[name] = channel
    if result:
        enable_only(result)
    return result


def templates_of(settings: Settings) -> Templates:
    """Return the checked templates, so that errors show before anything is decided."""
    templates = Templates(settings.notify.templates)
    # The samples have all keys that a template can use.
    templates.check(SAMPLES, available())
    return templates
