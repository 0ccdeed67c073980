"""The configuration file (TOML) and its environment variables, read into checked values.

``CERTMGR_<SECTION>_<KEY>`` overrides a key of the file. An unknown key is an error that names the
most similar known key.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import platformdirs

from certmgr.config.acme import TABLES
from certmgr.config.checks import check, nearest
from certmgr.config.file_rights import require_unchangeable
from certmgr.config.settings import BUILT_IN, Settings
from certmgr.config.zone_settings import ZoneSettings
from inventory.errors import CertmgrError, ConfigError
from inventory.files import read_regular
from inventory.pasted import INVISIBLE, QUOTES
from inventory.text import printable

# Signs that word processors and web pages put where TOML has ASCII.
_TYPOGRAPHIC = (set(INVISIBLE) | set(QUOTES)) - set(" \t\r\n\f\v\"'`")
_MAX_FILE = 4_000_000  # bytes
_ZONES = "zones"
SECTIONS = {f.name: f for f in fields(Settings) if f.name not in ("source", _ZONES)}


def default_path() -> Path:
    """Return the path of the configuration file in the user's configuration directory."""
    return Path(platformdirs.user_config_dir("certmgr")) / "certmgr.toml"


def load(path: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Load the configuration.

    Args:
        path: The file. Default: CERTMGR_CONFIG, then the file in the user's configuration
            directory. Only the latter may be missing; the defaults apply then.
        environ: The environment variables; those of the process if None.

    Raises:
        ConfigError: The file cannot be read, or a section, key or value is invalid.
    """
    environ = os.environ if environ is None else environ
    # The option is closer to the command than the environment, and wins.
    named = path or environ.get("CERTMGR_CONFIG")
    file = Path(named) if named else default_path()
    raw: dict[str, Any] = {}
    source = BUILT_IN
    # A named file that is missing is an error; the default file is optional.
    if named or file.is_file():
        raw, source = _read(file), str(file)
    _require_known_sections(raw, file)
    # Every section is read, also without a table in the file, because variables may set its keys.
    sections = {name: _section(name, raw.get(name, {}), environ, file) for name in SECTIONS}
    settings = Settings(**sections, zones=_zones(raw, file), source=source)
    check(settings)
    # Built-in defaults name no program, so that there is nothing to protect.
    if raw:
        require_unchangeable(settings, file)
    return settings


def load_text(text: str, name: str) -> Settings:
    """Load a configuration from a text, without the environment.

    Raises:
        ConfigError: The text is not a valid configuration.
    """
    file = Path(name)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not TOML", str(error), "Correct this value.") from None
    _require_known_sections(raw, file)
    sections = {n: _section(n, raw.get(n, {}), {}, file) for n in SECTIONS}
    settings = Settings(**sections, zones=_zones(raw, file), source=name)
    check(settings)
    return settings


def _require_known_sections(raw: Mapping[str, Any], file: Path) -> None:
    known = sorted((*SECTIONS, _ZONES))
    for name, values in raw.items():
        if name not in known:
            raise ConfigError(f"{file}: unknown section [{name}]", "", nearest(name, known))
        if not isinstance(values, dict):
            raise ConfigError(
                f"{file}: the key '{name}' is outside of a section",
                "",
                f"Move it below [{known[0]}] or another section.",
            )


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    # Each call evaluates all annotations of the class again, and there is a call for each section.
    return get_type_hints(cls)


def _section(name: str, raw: Mapping[str, Any], environ: Mapping[str, str], file: Path) -> Any:
    """Return the values of a section: those of the file, and over them those of variables."""
    cls = _hints(Settings)[name]
    values = dict(raw)
    # The tables of [acme] are read separately, so they are not keys of the section.
    hints = {
        k: v
        for k, v in _hints(cls).items()
        if not (name == "acme" and k in ("cas", "solvers", "targets"))
    }
    tables = _tables(values, file) if name == "acme" else {}
    # A misspelt key would leave its default in force without a sign, so it is an error.
    for key in values:
        if key not in hints:
            raise ConfigError(
                f"{file}: unknown key '{key}' in [{name}]", "", nearest(key, list(hints))
            )
    # Variables override the file: a container or a unit changes one value without a copy of the
    # file.
    prefix = f"CERTMGR_{name.upper()}_"
    for variable, text in environ.items():
        if variable.startswith(prefix):
            key = variable[len(prefix) :].lower()
            if key not in hints:
                raise ConfigError(
                    f"The environment variable {variable} is unknown",
                    "",
                    nearest(key, list(hints)),
                )
            values[key] = _from_text(text, hints[key], variable)
    # Each message names file, section and key, so that the line is found at once.
    where = f"{file}: [{name}]"
    return cls(**{k: _typed(v, hints[k], f"{where} {k}") for k, v in values.items()}, **tables)


def _tables(values: dict[str, Any], file: Path) -> dict[str, Any]:
    """Remove [acme.ca.NAME], [acme.solver.NAME] and [acme.target.NAME] from ``values``.

    Returns:
        The tables by attribute of AcmeSettings.

    Raises:
        ConfigError: A table has an unknown key or an invalid value.
    """
    return {
        attribute: _named_tables(values.pop(table, {}), cls, f"acme.{table}", file)
        for table, (attribute, cls) in TABLES.items()
    }


def _zones(raw: Mapping[str, Any], file: Path) -> dict[str, ZoneSettings]:
    """Return the zones of [zones.NAME] by name."""
    found: dict[str, ZoneSettings] = _named_tables(raw.get(_ZONES, {}), ZoneSettings, _ZONES, file)
    return found


def _named_tables(named: Any, cls: Any, table: str, file: Path) -> dict[str, Any]:
    """Return the values of the tables [TABLE.NAME] by name.

    Raises:
        ConfigError: A table has an unknown key or an invalid value.
    """
    hints = _hints(cls)
    settings_by_name = {}
    if not isinstance(named, dict) or not all(isinstance(v, dict) for v in named.values()):
        section, _, key = table.rpartition(".")
        what = (
            f"[{section}] {key} is not a table"
            if section
            else f"[{key}] has a key outside of a zone"
        )
        raise ConfigError(f"{file}: {what}", "", f"Write [{table}.NAME] above it.")
    for name, entries in named.items():
        where = f"{file}: [{table}.{name}]"
        for key in entries:
            if key not in hints:
                raise ConfigError(f"{where}: unknown key '{key}'", "", nearest(key, list(hints)))
        settings_by_name[name] = cls(
            **{k: _typed(v, hints[k], f"{where} {k}") for k, v in entries.items()}
        )
    return settings_by_name


def _read(file: Path) -> dict[str, Any]:
    try:
        # Only a regular file: a pipe or a device would block each command.
        data = read_regular(file, _MAX_FILE)
    except CertmgrError as error:
        raise ConfigError(
            f"The configuration {file} cannot be read", error.why, "Give a readable file."
        ) from None
    # A file of that size is not a configuration, and parsing it would cost minutes.
    if len(data) > _MAX_FILE:
        raise ConfigError(
            f"The configuration {file} cannot be read",
            f"it is larger than {_MAX_FILE} bytes",
            "Give a configuration of certmgr.",
        )
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        # Editors of Windows write a byte order mark, and PowerShell UTF-16.
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"The configuration {file} is not UTF-8",
            f"line {line} has a character in another encoding",
            "Save it as UTF-8.",
        ) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"The configuration {file} is not TOML",
            _typographic(text) or str(error),
            "Correct this line.",
        ) from None


def _typographic(text: str) -> str:
    """Return where a text has signs of a word processor outside of comments; empty if nowhere."""
    for number, line in enumerate(text.splitlines(), 1):
        written = line.partition("#")[0]
        # In a quoted value they are no mistake.
        written = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'", "", written)
        if found := next((c for c in written if c in _TYPOGRAPHIC), ""):
            name = unicodedata.name(found, "an unknown character").lower()
            return f"line {number} has the sign '{printable(found)}' ({name})"
    return ""


def _from_text(text: str, hint: Any, where: str) -> Any:
    """Convert the text of an environment variable to the type of its key."""
    if hint is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ConfigError(f"{where} is '{text}'", "it must be true or false")
        return text.lower() in ("true", "1")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ConfigError(f"{where} is '{text}'", "it must be a number") from None
    # A list has commas in a variable, because the environment knows no other type than text.
    return text if hint is str else [part.strip() for part in text.split(",") if part.strip()]


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Return a TOML value of the expected type, or raise ConfigError.

    ``bool`` is a subclass of ``int`` in Python, so numbers exclude it explicitly.
    """
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if (
        hint is float
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    ):
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    expected = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text in quotes",
    }.get(hint, "a list of texts")
    raise ConfigError(f"{where} is {value!r}", f"it must be {expected}")
