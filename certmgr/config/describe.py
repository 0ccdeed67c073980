"""The configuration as text: each key with its value, its source and its meaning. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from certmgr.config.redaction import redact
from certmgr.config.settings import Settings

# Keys whose value may contain a password or a token. They are known by their names, because a
# secret that was written in plain text must not appear in a bug report either.
_SECRET_KEYS = re.compile(r"mail$|inbox|heartbeat|channels|passphrase|secret|credentials|eab")
MASK = "***"


@dataclass(frozen=True, slots=True)
class ConfiguredValue:
    """A key of the configuration.

    Attributes:
        section: The section, such as "scan" or "acme.ca.lab".
        key: The key.
        value: The value for people, with secrets masked.
        is_default: Whether it is the built-in default.
    """

    section: str
    key: str
    value: str
    is_default: bool


def masked(section: str, key: str, value: Any) -> str:
    """Return a value as TOML without its secrets.

    ``env:NAME`` and ``file:PATH`` name where a secret is, and are shown.
    """
    # Before the numbers, because a bool is an int in Python.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(masked(section, key, v) for v in value)}]"
    if isinstance(value, Mapping):
        inner = (f"{k} = {masked(section, str(k), v)}" for k, v in value.items())
        return f"{{ {', '.join(inner)} }}" if value else "{}"
    if not isinstance(value, str):
        return str(value)
    shown = value
    if value and _SECRET_KEYS.search(key) and not value.startswith(("env:", "file:")):
        # A channel is "name=URL".
        name, equals, _ = value.partition("=") if key == "channels" else ("", "", "")
        shown = f"{name}{equals}{MASK}"
    # User and password in a URL, of whatever key: database, mail server, proxy.
    shown = re.sub(r"(?<=://)[^/\s]*@", f"{MASK}@", shown)
    shown = re.sub(r"([?&][^=&\s]*=)[^&\s]+", rf"\1{MASK}", redact(shown))
    return json.dumps(shown, ensure_ascii=False)


def values(settings: Settings) -> Iterator[ConfiguredValue]:
    """Yield every key of the configuration."""
    defaults = Settings()
    for section in fields(settings):
        table = getattr(settings, section.name)
        if isinstance(table, Mapping):
            yield from _tables("", section.name, table)
            continue
        if not is_dataclass(table):
            continue
        for key in fields(table):
            value = getattr(table, key.name)
            if isinstance(value, Mapping):
                yield from _tables(section.name, key.name, value)
                continue
            yield ConfiguredValue(
                section.name,
                key.name,
                masked(section.name, key.name, value),
                value == getattr(getattr(defaults, section.name), key.name),
            )


def _tables(section: str, name: str, tables: Mapping[str, Any]) -> Iterator[ConfiguredValue]:
    """Yield the keys of [acme.ca.NAME], [zones.NAME] and the like."""
    for table_name, table in tables.items():
        for key in fields(table):
            value, default = getattr(table, key.name), key.default
            # [acme.ca.NAME] is named by one of its tables, and [zones.NAME] by all.
            prefix = f"{section}.{name.rstrip('s')}" if section else name
            where = f"{prefix}.{table_name}"
            yield ConfiguredValue(where, key.name, masked(where, key.name, value), value == default)
