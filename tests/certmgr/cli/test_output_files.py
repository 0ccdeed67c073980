"""``--output`` of every command: links are not followed, and keys go to private folders only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from certmgr.cli.main import cli
from tests.certmgr.cli.refusals import assert_refused
from tests.program import Ran

Runner = Callable[..., Ran]

# One call of each command with --output FILE. `case package` writes keys, and is tested apart.
CALLS = {
    "calendar": ("calendar",),
    "audit export": ("audit", "export"),
    "case csr": ("case", "csr", "{case}", "--again"),
    "dashboard": ("dashboard",),
    "export": ("export",),
    "metrics": ("metrics",),
    "purchase export": ("purchase", "export"),
    "report": ("report", "--client", "1"),
}
FOLDERS = {
    "notice preview": ("notice", "preview"),
    "report": ("report", "--all"),
}


def commands_with_output(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands_with_output(command, (*path, name))
    elif any("--output" in p.opts for p in group.params):
        yield " ".join(path)


@pytest.fixture
def filled(certmgr: Runner) -> Runner:
    assert certmgr("client", "add", "1", "One").code == 0
    assert certmgr("domain", "add", "a.example", "--client", "1").code == 0
    return certmgr


def test_every_command_with_output_is_tested_here() -> None:
    assert set(commands_with_output(cli)) == {*CALLS, *FOLDERS, "case package"}


@pytest.mark.parametrize("command", sorted(set(CALLS) - {"case csr"}))
def test_output_does_not_follow_a_link(filled: Runner, tmp_path: Path, command: str) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link.prom"
    victim.write_text("old")
    link.symlink_to(victim)
    done = filled(*CALLS[command], "--output", str(link))
    assert done.code == 0, done.err
    assert victim.read_text() == "old"
    assert not link.is_symlink()


@pytest.mark.parametrize("command", sorted(FOLDERS))
def test_output_folder_is_not_a_link(filled: Runner, tmp_path: Path, command: str) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.mkdir()
    link.symlink_to(victim)
    refused = filled(*FOLDERS[command], "--output", str(link))
    assert_refused(refused, 3, "it is a link")
    assert list(victim.iterdir()) == []


def _case(certmgr: Runner, tmp_path: Path) -> str:
    """Open a case that has a key, and return its reference."""
    with (tmp_path / "certmgr.toml").open("a") as file:
        file.write(f'[cases]\nkeys = "{tmp_path}/keys"\n')
    opened = certmgr("case", "open", "1", "a.example", "--reason", "first")
    assert opened.code == 0, opened.err
    return opened.out.split(":")[0].strip()


@pytest.mark.parametrize("link_to", ["victim", "absent"])
def test_csr_and_instructions_are_not_written_through_links(
    filled: Runner, tmp_path: Path, link_to: str
) -> None:
    reference = _case(filled, tmp_path)
    victim, csr = tmp_path / link_to, tmp_path / "new.csr"
    if link_to == "victim":
        victim.write_text("-----BEGIN old")
    for name in ("new.csr", "new.csr.txt"):
        (tmp_path / name).symlink_to(victim)
        refused = filled("case", "csr", reference, "--output", str(csr))
        assert_refused(refused, 3, "exists already")
        (tmp_path / name).unlink()
    assert victim.exists() == (link_to == "victim")
    assert filled("case", "csr", reference, "--output", str(csr)).code == 0
    assert filled("case", "csr", reference, "--again", "--output", str(csr)).code == 0
