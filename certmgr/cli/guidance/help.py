"""``certmgr help`` and ``certmgr explain``: the documentation on the command line."""

from __future__ import annotations

import difflib
import re
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import rich.console
import rich.markdown

import certmgr
from certmgr.cli.guidance import manual
from certmgr.cli.output import cell
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.compliance.milestones import Deadline, milestones
from certmgr.compliance.rules import RULES
from inventory.errors import NotFound, UsageError
from inventory.finding_codes import CODES, Responsible

# Longer lines are hard to read, so the text does not fill a wide terminal.
MAX_WIDTH = 100
# Pages of the documentation that are for contributors, or too long to read on a terminal.
_NOT_TOPICS = ("architecture", "commands", "index", "testing")
_ROLES = {
    Responsible.HOST: "The host of the site: we, a panel, or the host that the client has chosen.",
    Responsible.DNS: "The operator of the DNS of the domain.",
    Responsible.HOLDER: "The party that renews the certificate, otherwise the one that buys it.",
    Responsible.HOLDER_OR_HOST: "The buyer of the certificate; its host, once one was served.",
    Responsible.CLIENT: "The client, because the content of the site is theirs.",
    Responsible.STAFF: "Our staff: the cause must be found first.",
    Responsible.NONE: "No action is needed. It is a remark.",
}
SOFTWARE = ("nginx", "Apache", "HAProxy", "IIS", "Plesk", "cPanel")


def docs_folder() -> Path:
    """Return the folder of the documentation: in the package, or in the checkout."""
    package = Path(certmgr.__file__).parent
    installed = package / "docs"
    return installed if installed.is_dir() else package.parent / "docs"


def topics() -> dict[str, Path]:
    """Return the pages of the documentation by topic; a reference page before a task page."""
    folder = docs_folder()
    # If two pages have the same stem, the later one wins, so the reference pages come last.
    pages = [*sorted(folder.glob("tasks/*.md")), *sorted(folder.glob("*.md"))]
    by_topic = {p.stem: p for p in pages if p.stem not in _NOT_TOPICS}
    return dict(sorted(by_topic.items()))


@click.command("help")
@click.argument("words", nargs=-1, metavar="[TOPIC]")
@click.option(
    "--man",
    "man_folder",
    metavar="FOLDER",
    help="Write the manual pages (man certmgr-scan) of all commands and topics to FOLDER.",
)
@pass_app
@click.pass_context
def help_(
    context: click.Context, app: CommandContext, words: tuple[str, ...], man_folder: str | None
) -> None:
    """Read the documentation of TOPIC: a page, a command, a finding code or a rule.

    Without TOPIC, list the topics.
    """
    root = context.find_root().command
    if man_folder is not None:
        count = manual.write_pages(root, topics(), Path(man_folder))
        click.echo(f"{count} manual pages written. To read one: man {man_folder}/certmgr.1")
        return
    if not words:
        _list_topics()
        return
    topic = " ".join(words)
    # A page comes before a command of the same name: it explains the task, and the options of the
    # command are also in its --help.
    if topic.lower() in topics():
        _page(topics()[topic.lower()].read_text(encoding="utf-8"))
    elif (command := _command(root, words)) is not None:
        click.echo(command.get_help(click.Context(command, info_name=f"certmgr {topic}")))
    elif topic in CODES or topic in _rules():
        _explain(topic)
    else:
        names = root.list_commands(context) if isinstance(root, click.Group) else []
        raise _unknown(topic, [*topics(), *names])


def _list_topics() -> None:
    rows = []
    for topic, path in topics().items():
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        rows.append((topic, first.removeprefix("# ")))
    formatter = click.HelpFormatter(width=_width())
    with formatter.section("Topics: certmgr help TOPIC"):
        formatter.write_dl(rows)
    with formatter.section("Also"):
        formatter.write_dl(
            [
                ("certmgr help COMMAND", "The options of a command, as certmgr COMMAND --help."),
                ("certmgr explain CODE", "A finding code or a dated rule, and how to fix it."),
                ("certmgr explain", "All codes and rules."),
            ]
        )
    click.echo(formatter.getvalue(), nl=False)


def _width() -> int:
    return min(shutil.get_terminal_size().columns, MAX_WIDTH)


def _page(text: str) -> None:
    """Show Markdown as text that fits the terminal."""
    # Links between pages become the command that shows them.
    text = re.sub(
        r"\[([^\]]+)\]\((?:\.\./|tasks/)?([\w-]+)\.md(?:#[\w-]+)?\)", r"`certmgr help \2`", text
    )
    console = rich.console.Console(width=_width(), color_system="auto", highlight=False)
    with console.capture() as captured:
        # A hyperlink is an escape sequence, which some pagers and terminals show as characters.
        console.print(rich.markdown.Markdown(text, hyperlinks=False))
    # rich pads each line to the full width. The blanks would wrap in a narrower window.
    shown = "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"
    # A pager waits for a key. With a pipe or a file, no person is there to press one.
    if sys.stdout.isatty():
        click.echo_via_pager(shown)
    else:
        click.echo(shown, nl=False)


def _command(root: click.Command, words: Sequence[str]) -> click.Command | None:
    found: click.Command | None = root
    for word in words:
        if not isinstance(found, click.Group):
            return None
        found = found.get_command(click.Context(found), word)
    return found


def _unknown(topic: str, known: Sequence[str]) -> NotFound:
    # Codes and rules are suggested too, since this command accepts them like topics.
    every = [*known, *CODES, *_rules()]
    close = difflib.get_close_matches(topic.lower(), every, n=3, cutoff=0.5)
    return NotFound(
        f"There is no topic '{cell(topic, 60)}'",
        "",
        f"Did you mean {', '.join(close)}?" if close else "certmgr help lists the topics.",
    )


@lru_cache(maxsize=1)
def _rules() -> dict[str, list[Deadline]]:
    """Return the milestones by their name and by the name of their rule."""
    found: dict[str, list[Deadline]] = {}
    for milestone in milestones():
        found.setdefault(milestone.name, []).append(milestone)
        if milestone.rule:
            found.setdefault(milestone.rule, []).append(milestone)
    # A rule without a date is a known topic too, because it may have an explanation.
    for rule in RULES:
        found.setdefault(rule, [])
    return found


@lru_cache(maxsize=1)
def explanations() -> Mapping[str, Any]:
    """Return what is explained in addition to the sentence of each code."""
    return tomllib.loads(
        (files("certmgr.cli.guidance") / "explanations.toml").read_text(encoding="utf-8")
    )


@click.command()
@click.argument("topic", required=False, metavar="[CODE|RULE]")
@click.option(
    "--for",
    "software",
    type=click.Choice(SOFTWARE, case_sensitive=False),
    help="Show how to fix it with this software only.",
)
def explain(topic: str | None, software: str | None) -> None:
    """Explain a finding CODE or a dated RULE, and how to fix it.

    What it means, what a visitor sees, who has to act, and how to fix it with nginx, Apache,
    HAProxy, IIS, Plesk and cPanel. Without an argument, list all codes and rules.

    \b
    certmgr explain chain-incomplete --for nginx
    certmgr explain https-only
    """
    if topic is None:
        # Without a code there is no instruction to limit to one software. If --for were ignored,
        # the list would seem to be filtered by it.
        if software is not None:
            raise UsageError("--for needs a finding code", "", "Give CODE: certmgr explain CODE.")
        _list_codes()
        return
    wanted = topic.strip().lower()
    if wanted not in CODES and wanted not in _rules():
        raise _unknown(topic, [])
    _explain(wanted, software)


def _list_codes() -> None:
    formatter = click.HelpFormatter(width=_width())
    with formatter.section("Finding codes"):
        formatter.write_dl([(c, f"{m.severity}: {m.visitor}") for c, m in CODES.items()])
    with formatter.section("Dated rules"):
        formatter.write_dl([(m.name, f"{m.at:%Y-%m-%d}: {m.title}") for m in milestones()])
    click.echo(formatter.getvalue(), nl=False)


def _explain(topic: str, software: str | None = None) -> None:
    if topic in CODES:
        _explain_code(topic, software)
        return
    # Not every rule has an explanation; some have only the titles of their milestones.
    text = explanations()["rule"].get(topic)
    if text is not None:
        click.echo(f"{topic}\n{_fold(text)}\n")
        click.echo(f"Your own date for it: certmgr deadline add NAME --rule {topic} --date DATE")
    for index, milestone in enumerate(_rules().get(topic, [])):
        if index:
            click.echo()
        _explain_rule(milestone)


def _fold(text: str, indent: str = "  ") -> str:
    return textwrap.fill(
        text,
        _width(),
        initial_indent=indent,
        subsequent_indent=indent,
        # Codes, option names and addresses are copied from this text, so they are never broken.
        break_long_words=False,
        break_on_hyphens=False,
    )


def _placeholders(text: str) -> str:
    """Return a sentence with its evidence as words in capitals."""
    return re.sub(r"\{(\w+)\}", lambda m: m.group(1).upper(), text)


def _explain_code(code: str, software: str | None) -> None:
    properties = CODES[code]
    words = properties.text
    click.echo(f"{code} (usually {properties.severity})\n")
    for heading, text in (
        ("What it means", _placeholders(words.sentence)),
        ("What a visitor sees", properties.visitor),
        ("Who acts", _ROLES[properties.role]),
        ("What to do", _placeholders(words.instruction)),
    ):
        click.echo(f"{heading}\n{_fold(text)}\n")
    for variant, heading in properties.when.items():
        instruction = properties.variants[variant].instruction
        click.echo(f"{heading}\n{_fold(_placeholders(instruction))}\n")
    if properties.fix is None:
        click.echo("It is not fixed in the configuration of a web server.\n")
    else:
        fix = explanations()["fix"][properties.fix]
        click.echo(f"{fix['title']} with")
        for name in SOFTWARE:
            if software is None or name.lower() == software.lower():
                click.echo(f"  {name}\n{_fold(fix[name], '    ')}")
        click.echo()
    click.echo(f"Sites with it: certmgr finding list --code {code}")


def _explain_rule(milestone: Deadline) -> None:
    # An announced rule may still change, which a reader must know before planning for it.
    state = "" if milestone.confirmed else " (announced)"
    # If the beginning of a rule in force is unknown, its stored date would mislead.
    since = "" if milestone.precision == "in-force" else f", {milestone.at:%Y-%m-%d}"
    click.echo(f"{milestone.name}{since}{state}\n{_fold(milestone.title)}\n")
    for heading, text in (("Affects", milestone.affects), ("Source", milestone.source)):
        if text:
            click.echo(f"{heading}\n{_fold(text)}\n")
    if milestone.rule:
        click.echo(f"Sites against it: certmgr compliance --deadline {milestone.name}")
    else:
        click.echo("A scan cannot check it.")
