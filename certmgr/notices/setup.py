"""From the configuration to a run of notices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, time
from email.utils import parseaddr
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from certmgr.config.settings import NotifySettings, Settings, secret
from inventory.countries import known_country
from inventory.errors import ConfigError
from notifiers.channels import Channel, only
from notifiers.pipeline import compose
from notifiers.pipeline.plan import NoticePolicy
from notifiers.pipeline.record import NoticeSettings
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.thresholds import BEFORE, ThresholdRules
from notifiers.wording.catalogue import available
from notifiers.working_days import ChangeFreeze

MAIL = "mail"


def rules_of(settings: Settings) -> NoticeSettings:
    """Raises :class:`ConfigError` for what cannot be so."""
    notify, provider = settings.notify, settings.provider
    if notify.country and not known_country(notify.country):
        raise ConfigError(
            f"[notify] country '{notify.country}' is unknown",
            "no holidays are known of it",
            "Write DE, or DE-BY.",
        )
    policy = NoticePolicy(
        thresholds=thresholds(notify.thresholds),
        freezes=freezes(notify.freezes),
        climb_days=notify.climb_days,
        climb_near_days=notify.climb_near_days,
        ack_days=notify.ack_days,
        word_days=notify.word_days,
        mass_percent=notify.mass_percent,
        mass_least=notify.mass_least,
    )
    opens, closes = _hour(notify.opens, "opens"), _hour(notify.closes, "closes")
    if opens >= closes:
        raise ConfigError(
            f"[notify] opens is {notify.opens} and closes {notify.closes}",
            "then nobody could ever be written to",
        )
    return NoticeSettings(
        policy=policy,
        sender=compose.Sender(provider.name, notify.answer, notify.offers, _sender(notify.mail)),
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
    """The address that mail comes from: whose calendar entries these are.

    What is wrong with the URL is said when it is used.
    """

    try:
        url = urlsplit(secret(mail)) if mail else urlsplit("")
        asked = parse_qs(url.query).get("from", [""])[0]
    except (ConfigError, ValueError):
        asked = ""
    return parseaddr(asked)[1] or "noreply@certmgr.invalid"


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _weekdays(names: Sequence[str]) -> frozenset[int]:
    if not names or not set(names) <= set(_DAYS):
        raise ConfigError(
            "[notify] working_days cannot be so",
            f"known are {', '.join(_DAYS)}",
            "Name at least one.",
        )
    return frozenset(_DAYS.index(n) for n in names)


def _hour(text: str, name: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"[notify] {name} is '{text}'", "it is a time of day", "Write 08:00."
        ) from None


def thresholds(lines: Sequence[str]) -> ThresholdRules:
    """``60,30,7``, ``tag:NAME=...``, ``client:NUMBER=...``."""
    before: tuple[int, ...] = BEFORE
    by_client: dict[str, tuple[int, ...]] = {}
    by_tag: dict[str, tuple[int, ...]] = {}
    for line in lines:
        scope, equals, days = line.rpartition("=")
        numbers = [n.strip() for n in days.split(",")]
        if not all(n.isascii() and n.isdigit() and int(n) <= 400 for n in numbers):
            raise ConfigError(
                f"[notify] thresholds has '{line[:80]}'",
                "thresholds are whole numbers of days up to 400",
                "Write 60,30,14,7,3,1,0.",
            )
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
                "",
                "Write tag:NAME=30,7 or client:NUMBER=30,7.",
            )
    return ThresholdRules(before, by_client, by_tag)


def freezes(lines: Sequence[str]) -> tuple[ChangeFreeze, ...]:
    found = []
    for line in lines:
        first, slash, last = line.partition("/")
        try:
            freeze = ChangeFreeze(
                date.fromisoformat(first.strip()),
                date.fromisoformat(last.strip() if slash else first.strip()),
            )
        except ValueError:
            raise ConfigError(
                f"[notify] freezes has '{line[:60]}'", "", "Write 2026-12-20/2027-01-06."
            ) from None
        if freeze.last < freeze.first or (freeze.last - freeze.first).days > 120:
            raise ConfigError(
                f"[notify] freezes has '{line[:60]}'",
                "it ends before it begins, or is longer than 120 days",
            )
        found.append(freeze)
    return tuple(found)


def channels_of(notify: NotifySettings) -> dict[str, Channel]:
    """Every configured way out by its name; mail is ``mail``.

    Secrets are resolved here and kept nowhere else.
    """
    found: dict[str, Channel] = {}
    if notify.mail:
        found[MAIL] = Channel(
            MAIL,
            secret(notify.mail),
            timeout=notify.timeout,
            connect_timeout=min(15.0, notify.timeout),
        )
        if not found[MAIL].is_mail:
            raise ConfigError(
                "[notify] mail is no mail channel",
                f"it is {found[MAIL].schema}://",
                "Write mailtos://user:password@host?from=address.",
            )
    for line in notify.channels:
        name, equals, url = line.partition("=")
        name = name.strip()
        if (
            not equals
            or not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name)
            or name == MAIL
            or name in found
        ):
            raise ConfigError(
                f"[notify] channels has '{name[:40]}'",
                "each is name=URL, and a name stands once",
                "Write desk=env:DESK_URL.",
            )
        channel = Channel(
            name,
            secret(url.strip()),
            timeout=notify.timeout,
            connect_timeout=min(15.0, notify.timeout),
        )
        if channel.is_mail:
            raise ConfigError(
                f"The channel '{name}' is a mail channel",
                "mail goes to the address of each contact",
                "Use [notify] mail for it.",
            )
        found[name] = channel
    if found:
        only(found)
    return found


def templates_of(settings: Settings) -> Templates:
    """Opened and checked: an error in a template shows before anything is decided."""
    templates = Templates(settings.notify.templates)
    templates.check(compose.SAMPLES, available())
    return templates
