"""``certmgr config``: show and check the configuration."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from pathlib import Path

import click

from certmgr.cli.output import cell, show
from certmgr.cli.shared import CommandContext, format_option, pass_app
from certmgr.config.describe import values
from certmgr.config.loading import default_path
from certmgr.config.secret_values import secret
from inventory.errors import ConfigError


@click.group()
def config() -> None:
    """Show and check the configuration (certmgr help configuration)."""


@config.command("path")
@pass_app
def config_path(app: CommandContext) -> int:
    """Print the path of the configuration file that applies.

    Exits 3 if there is none: then the built-in defaults apply.
    """
    file = Path(app.config or os.environ.get("CERTMGR_CONFIG") or default_path())
    # stdout has the path and nothing else, so that a script can use it.
    click.echo(cell(str(file), 4096))
    if file.is_file():
        return 0
    click.echo(
        "certmgr: this file does not exist, so the built-in defaults apply. Create it: certmgr"
        " init.",
        err=True,
    )
    return 3


@config.command("show")
@click.option("--all", "everything", is_flag=True, help="Also show keys with default values.")
@click.argument("section", required=False)
@format_option
@pass_app
def config_show(
    app: CommandContext, everything: bool, section: str | None, output_format: str
) -> None:
    """Show the values that apply, of all sections or of SECTION, with secrets masked.

    Values of the environment (CERTMGR_SECTION_KEY) are included.
    """
    rows = [
        v
        for v in values(app.settings)
        # The name of a group, such as acme, selects all its tables.
        if section is None or v.section == section or v.section.startswith(f"{section}.")
    ]
    if section is not None and not rows:
        known = ", ".join(dict.fromkeys(v.section for v in values(app.settings)))
        raise ConfigError(
            f"There is no section '{cell(section, 60)}'", "", f"The sections are {known}."
        )
    # Programs get every key: --all only shortens the text for people.
    if output_format != "table":
        columns = ("section", "key", "value", "default")
        shown = [
            {"section": v.section, "key": v.key, "value": v.value, "default": v.is_default}
            for v in rows
        ]
        show("configuration", columns, shown, output_format)
        return
    # The text has the form of the file, so that lines can be copied from it. Secrets are masked.
    click.echo(f"# {cell(app.settings.source, 4096)}")
    # A section that is named is shown completely, since its defaults are the answer too.
    shown_rows = [v for v in rows if everything or section or not v.is_default]
    last = ""
    for value in shown_rows:
        if value.section != last:
            click.echo(f"\n[{cell(value.section)}]")
            last = value.section
        note = "  # default" if value.is_default else ""
        click.echo(f"{value.key} = {cell(value.value, 2000)}{note}")
    if not shown_rows:
        click.echo("All values are the defaults. certmgr config show --all lists them.")


@config.command("check")
@pass_app
def config_check(app: CommandContext) -> int:
    """Check the file, and that each secret it refers to can be read. Nothing is contacted.

    certmgr doctor also checks what the configuration points to.
    """
    settings = app.settings
    problems = []
    # All unreadable secrets are reported at once, so that one repair is enough.
    for reference in sorted(set(_references(settings))):
        try:
            secret(reference)
        except ConfigError as error:
            problems.append(str(error))
    for problem in problems:
        click.echo(f"✗ {cell(problem, 500)}")
    source = cell(settings.source, 4096)
    if problems:
        click.echo(f"{source}: {len(problems)} secret(s) cannot be read.")
        return 3
    click.echo(f"✓ {source}: valid.")
    click.echo("Next: certmgr doctor checks DNS, database, mail server and more.")
    return 0


def _references(settings: object) -> list[str]:
    """Return all ``env:NAME`` and ``file:PATH`` of a configuration."""
    if isinstance(settings, str):
        # A channel is "name=URL", and its URL may be a reference.
        channel = "=env:" in settings or "=file:" in settings
        text = settings.partition("=")[2] if channel else settings
        return [text] if text.startswith(("env:", "file:")) else []
    if isinstance(settings, (list, tuple)):
        return [r for v in settings for r in _references(v)]
    if isinstance(settings, dict):
        return [r for v in settings.values() for r in _references(v)]
    if is_dataclass(settings):
        return [r for f in fields(settings) for r in _references(getattr(settings, f.name))]
    return []
