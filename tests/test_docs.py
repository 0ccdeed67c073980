"""The documentation matches the program.

Commands, options, finding codes, configuration keys, columns, and names of files are checked.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click

from certmgr.cli.guidance.help import SOFTWARE, explanations
from certmgr.cli.main import cli
from certmgr.config.loading import SECTIONS
from certmgr.config.settings import Settings
from inventory.finding_codes import CODES, Fix
from inventory.importers.csv_format import COLUMNS
from inventory.importers.purchases_format import COLUMNS as PURCHASE_COLUMNS

ROOT = Path(__file__).parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def commands(group: click.Group, prefix: str = "certmgr") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    for name, command in commands(cli):
        assert f"`{name}" in text, f"docs/commands.md does not name {name}"
        assert command.help, f"{name} has no help"
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                section = text.split(f"\n### `{name}", 1)[1].split("\n### ", 1)[0]
                assert max(parameter.opts, key=len) in section, (
                    f"docs/commands.md does not name {max(parameter.opts, key=len)} of {name}"
                )


def test_each_campaign_is_marked_and_its_sizes_are_documented() -> None:
    """Without the marker, make soak does not run it at full size."""
    table = (ROOT / "docs" / "testing.md").read_text().partition("## Sizes of campaigns")[2]
    documented = set(
        re.findall(r"^\| `(tests/\S+\.py)`", table.partition("\n## ")[0], re.MULTILINE)
    )
    sized = re.compile(r"\bsize\(|\bSOAK\b")
    texts = {str(p.relative_to(ROOT)): p.read_text() for p in ROOT.glob("tests/**/test_*.py")}
    asking = {name for name, text in texts.items() if sized.search(text)} - {"tests/test_docs.py"}
    marked = {name for name in texts if "pytest.mark.campaign" in texts[name]}
    assert documented == asking == marked - {"tests/test_docs.py"}


def test_generated_pages_are_up_to_date() -> None:
    """tools/document.py would not change docs/commands.md or docs/findings.md."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("document", ROOT / "tools" / "document.py")
    assert spec is not None
    assert spec.loader is not None
    document = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(document)
    for name, make in document.PAGES.items():
        assert (ROOT / "docs" / name).read_text() == make(), (
            f"run: python tools/document.py (docs/{name})"
        )
    assert document.TREE.read_text() == document.command_tree(), "run: make docs"


def test_documented_commands_exist() -> None:
    known = {name for name, _ in commands(cli)} | {"certmgr"}
    checked = 0
    for path in DOCS:
        if path.name == "CHANGELOG.md":
            continue
        for line in re.findall(
            r"(?:^|`)\$? ?(certmgr [a-z][a-z -]*[a-z])", path.read_text(), re.MULTILINE
        ):
            words = line.split()
            checked += 1
            group = " ".join(words[:2])
            assert group in known, f"{path.name} names {line!r}"
            command = dict(commands(cli))[group]
            if isinstance(command, click.Group) and len(words) > 2:
                assert " ".join(words[:3]) in known, f"{path.name} names {line!r}"
    assert checked > 100


def test_options_of_the_documentation_exist() -> None:
    known = (
        {o for _, c in commands(cli) for p in c.params for o in (*p.opts, *p.secondary_opts)}
        | {o for p in cli.params for o in p.opts}
        | {"--help", "--version"}
    )
    tasks = sorted(ROOT.glob("docs/tasks/*.md"))
    assert len(tasks) == 7
    for path in (ROOT / "README.md", ROOT / "docs" / "commands.md", *tasks):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text()):
            assert option in known, f"{path.name} names {option}"


def test_every_code_has_texts_and_documentation() -> None:
    text = (ROOT / "docs" / "findings.md").read_text()
    for code, meta in CODES.items():
        assert f"| {code} | {meta.severity} |" in text, f"docs/findings.md: {code}"
        assert all(meta.text)
        assert set(meta.when) == set(meta.variants), code


def test_every_code_is_explained_for_all_software() -> None:
    fixes = explanations()["fix"]
    assert set(fixes) == set(Fix) == {c.fix for c in CODES.values() if c.fix}
    for fix in fixes.values():
        assert set(SOFTWARE) == set(fix) - {"title"}


def test_every_page_comes_with_the_wheel() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = wheel["targets"]["wheel"]["force-include"]
    assert included["docs/tasks"] == "certmgr/docs/tasks"
    for path in ROOT.glob("docs/*.md"):
        assert included[f"docs/{path.name}"] == f"certmgr/docs/{path.name}"


def test_messages_name_commands_and_no_file_of_the_checkout() -> None:
    for package in ("certmgr", "inventory", "notifiers"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                # A docstring is for programmers, except for that of a command, which is its help.
                if isinstance(node, ast.Call):
                    for text in ast.walk(node):
                        if isinstance(text, ast.Constant) and isinstance(text.value, str):
                            assert "docs/" not in text.value, f"{path}: {text.value}"
    for name, command in commands(cli):
        assert "docs/" not in (command.help or ""), name


def test_every_configuration_key_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for section in SECTIONS:
        assert f"[{section}]" in text
        for key in fields(getattr(Settings(), section)):
            assert f"`{key.name}`" in text, f"docs/configuration.md: {key.name}"


def test_every_csv_column_is_documented() -> None:
    text = (ROOT / "docs" / "import.md").read_text()
    for column in COLUMNS:
        assert f"| `{column}` |" in text, column


def test_every_column_of_purchases_is_documented() -> None:
    text = (ROOT / "docs" / "purchases.md").read_text()
    for column in PURCHASE_COLUMNS:
        assert f"`{column}`" in text, column


def test_files_named_in_the_documentation_exist() -> None:
    checked = 0
    for path in DOCS:
        for name in re.findall(
            r"`((?:certmgr|inventory|notifiers|tests|docs|bench|tools)/[\w./-]+"
            r"\.(?:py|md|c|sh|json|lock))`",
            path.read_text(),
        ):
            assert (ROOT / name).exists(), f"{path.name} names {name}"
            checked += 1
    assert checked > 100


def test_the_readme_shows_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    for word in ("make demo", "make test", "pipx", "uv tool"):
        assert word in text


def test_architecture_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for package in ("certmgr", "notifiers", "inventory"):
        for folder in (ROOT / package).iterdir():
            if (folder / "__init__.py").is_file():
                assert f"`{package}/{folder.name}/`" in text, f"{package}/{folder.name}"


_LIMIT = re.compile(r"^\| .+ \| ([\d,]+)(?: \w+)? \| `([\w/]+)\.py` `(\w+)` \|$", re.MULTILINE)


def test_limits_in_the_architecture_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("## Limits\n")[2]
    stated = _LIMIT.findall(table)
    assert len(stated) == table.count("` |"), "a row has another form"
    for limit, module, constant in stated:
        value = getattr(importlib.import_module(module.replace("/", ".")), constant)
        assert value == int(limit.replace(",", "")), f"{module}.py {constant}"


def test_the_project_stands_alone() -> None:
    """No file refers to a folder outside of the repository."""
    for path in [*ROOT.glob("**/*.py"), *DOCS]:
        if ".venv" in path.parts or path == Path(__file__):
            continue
        assert "../" + "shared" not in path.read_text(), path


def test_site_builds_without_warnings_and_loads_nothing_remote(tmp_path: Path) -> None:
    """Each page is in the menu, each link leads to a page, and the site works without a network."""
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        check=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        timeout=120,
    )
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) >= len(list((ROOT / "docs").rglob("*.md")))
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?(https?:[^\s\">]+)", page.read_text()
        )
        assert loaded == [], page.name
        sheets = re.findall(r"<link[^>]*href=\"?(https?:[^\s\">]+)", page.read_text())
        assert sheets == [], page.name
