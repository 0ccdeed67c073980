"""The commented configuration file that ``certmgr init`` writes. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from certmgr.config.loading import load_text
from certmgr.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Answers:
    """What ``certmgr init`` asks for.

    Attributes:
        name: The name of the provider.
        time_zone: The time zone of the provider.
        language: The language of reports.
        networks: The networks of the provider.
        resolvers: Name servers; empty for those of the system.
        mail: The reference to the mail server, such as ``env:CERTMGR_MAIL``.
        database: The database; empty for the default.
    """

    name: str
    time_zone: str
    language: str
    networks: tuple[str, ...]
    resolvers: tuple[str, ...]
    mail: str
    database: str = ""


def _text(value: str) -> str:
    # A basic string of TOML escapes what JSON escapes; DEL must be escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def render(answers: Answers) -> str:
    """Return the file. It is valid: every key was parsed again.

    Raises:
        ConfigError: An answer is not valid.
    """
    database = f"url = {_text(answers.database)}" if answers.database else '# url = ""'
    text = f"""# Configuration of certmgr, written by "certmgr init".
# All keys: certmgr help configuration. What applies: certmgr config show --all.
# A secret is written as "env:NAME" (environment variable) or "file:PATH", never as itself.

[provider]
# The name that your clients know; it is in notices and reports.
name = {_text(answers.name)}
# Dates without a time, office hours and the daily digest are in this time zone.
time_zone = {_text(answers.time_zone)}
# Reports for clients whose contacts have no language: en or de.
language = {_text(answers.language)}

[database]
# Default: certmgr.db in the data directory of the user. Or a path, or postgresql://user@host/name.
# With a password: "env:NAME" or "file:PATH" of the URL.
{database}

[network]
# Your networks. A name that leads elsewhere is reported as such, and no fault is assigned to you.
# Servers in them are asked faster. Example: ["192.0.2.0/24", "2001:db8::/32"]
provider = {_list(answers.networks)}
# Private networks that a scan may connect to. Empty: none.
allow = []

[scan]
# Name servers, such as ["192.0.2.53"]. Empty: those of the system.
resolvers = {_list(answers.resolvers)}
# Sites that always work, for example your own. If one fails, the network of this machine is at
# fault, and no client is notified.
controls = []

[http]
# A URL or an e-mail address in our User-Agent, so that the owner of a server can reach you.
contact = ""

[notify]
# apprise's mailtos:// URL: mailtos://user:password@mail.example.com?from=tls@example.com
mail = {_text(answers.mail)}
# Where answers and bounces arrive: imaps://user:password@host/INBOX
inbox = ""
# Your response time, in words, for messages: "one working day".
answer = ""
# Clients are notified between these times on working days, in their time zone.
opens = "08:00"
closes = "18:00"
"""
    load_text(text, "the new configuration")
    return text


def time_zone_of(link: str) -> str:
    """Return the time zone that /etc/localtime is a link to; UTC if it is none."""
    _, found, zone = link.partition("zoneinfo/")
    return zone if found and zone else Settings().provider.time_zone
