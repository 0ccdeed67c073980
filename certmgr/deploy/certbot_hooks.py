"""The hooks that certbot runs at each renewal besides those of a lineage: read, and never run.

renewal-hooks/{pre,deploy,post}/    each executable file, in alphabetical order
cli.ini                             pre-hook, post-hook, deploy-hook (or renew-hook), for all
"""

from __future__ import annotations

from pathlib import Path

from inventory.errors import CertmgrError
from inventory.files import read_regular
from inventory.text import printable

_MAX_FILE = 1_000_000
_MAX_HOOKS = 1000
_OPTIONS = ("pre-hook", "post-hook", "deploy-hook", "renew-hook")
_TRUE = ("true", "yes", "on", "1", "")


def common_hooks(base: Path) -> dict[str, str]:
    """Return hook -> its shell text or the names of its files, for all lineages of a directory."""
    options = _options(base / "cli.ini")
    hooks = {f"{n} of cli.ini": printable(options[n], 300) for n in _OPTIONS if options.get(n)}
    if options.get("no-directory-hooks", "false").lower() in _TRUE:
        return hooks
    for stage in ("pre", "deploy", "post"):
        if names := _executables(base / "renewal-hooks" / stage):
            hooks[f"renewal-hooks/{stage}"] = printable(", ".join(names), 300)
    return hooks


def _options(path: Path) -> dict[str, str]:
    """Return the options of cli.ini; empty if there is no readable file."""
    try:
        text = read_regular(path, _MAX_FILE)[:_MAX_FILE].decode("utf-8-sig", "replace")
    except CertmgrError:
        return {}
    options = {}
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key and key[0] not in "#;[":
            options[key.lstrip("-").replace("_", "-")] = value.strip("'\"")
    return options


def _executables(folder: Path) -> list[str]:
    """Return the files that certbot would run: others, and backups of editors, are ignored."""
    try:
        found = sorted(folder.iterdir())[:_MAX_HOOKS]
    except OSError:
        return []
    return [p.name for p in found if p.is_file() and p.stat().st_mode & 0o111 and p.name[-1] != "~"]
