"""Pipes, devices, sockets and folders in the place of a file are refused at once.

Reading a pipe or a device may never end, so an alarm ends a test whose command waits for one.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from certmgr.cli.guidance.completing import completions
from certmgr.cli.main import cli
from certmgr.config.acme import TargetSettings
from certmgr.deploy import ssh
from certmgr.deploy.clients.certbot_schedules import renewal_schedules
from inventory.errors import CertmgrError
from notifiers.pipeline.rendering import Templates
from tests.certmgr.cli.conftest import Runner
from tests.clock import clock
from tests.program import run

KINDS = ("pipe", "device", "socket", "folder")

# Each command and parameter that reads a file. {} is the file.
CALLS: dict[str, tuple[str, ...]] = {
    "audit export --sign": ("audit", "export", "--sign", "{}"),
    "audit verify [FILE]": ("audit", "verify", "{}"),
    "audit verify --key": ("audit", "verify", __file__, "--key", "{}"),
    "case csr --from": ("case", "csr", "{case}", "--from", "{}"),
    "case receive FILES...": ("case", "receive", "{case}", "{}"),
    "case receive --password": ("case", "receive", "{case}", __file__, "--password", "file:{}"),
    "database restore FILE": ("database", "restore", "{}", "--yes"),
    "diagnose --ca-file": ("diagnose", "https://a.example/", "--ca-file", "{}"),
    "import [SOURCE]": ("import", "{}", "--client", "1", "--from", "names"),
    "incident open --serials": (
        "incident",
        "open",
        "--reason",
        "x",
        "--until",
        "2027-01-01",
        "--serials",
        "{}",
    ),
    "incident open --spki": (
        "incident",
        "open",
        "--reason",
        "x",
        "--until",
        "2027-01-01",
        "--spki",
        "{}",
    ),
    "issue --csr": ("issue", "--csr", "{}"),
    "purchase attach CERTIFICATE": ("purchase", "attach", "1", "{}"),
    "purchase import SOURCE": ("purchase", "import", "{}", "--from", "csv"),
    "scan --ca-file": ("scan", "127.0.0.1:1/tls", "--ca-file", "{}"),
    "trust update FILE|URL": ("trust", "update", "{}"),
}
# Parameters that name a folder, a file that is written, or a file that a later command reads.
NOT_READ = {"database backup FILE", "help --man", "lineage adopt --path", "init --import"}


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    def end(*_: object) -> None:
        raise AssertionError("the command waits for a pipe or a device")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=KINDS)
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A name that is no regular file. /dev/null ends at once, so that a mistake shows as such."""
    path = tmp_path / "special"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        match request.param:
            case "pipe":
                os.mkfifo(path)
            case "device":
                path = Path("/dev/null")
            case "socket":
                server.bind(str(path))
            case _:
                path.mkdir()
        yield path


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def readers(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield "command parameter" of each parameter that names a file."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from readers(command, (*path, name))
        return
    for parameter in group.params:
        name = max(parameter.opts, key=len) if isinstance(parameter, click.Option) else ""
        shown = name or parameter.make_metavar(click.Context(group))
        words = ("FILE", "PEM", "KEY", "SOURCE", "FOLDER", "CERTIFICATE")
        named = isinstance(parameter.type, click.Path) or any(
            word in (shown if not name else parameter.metavar or "") for word in words
        )
        if named and name != "--output":
            yield " ".join((*path, shown))


def test_every_command_that_reads_a_file_is_tested_here() -> None:
    assert set(readers(cli)) - NOT_READ == set(CALLS) - {"case receive --password"}


def test_file_of_a_command_must_be_a_regular_file(certmgr: Runner, special: Path) -> None:
    assert certmgr("client", "add", "1", "One").code == 0
    assert certmgr("domain", "add", "a.example", "--client", "1").code == 0
    assert (
        certmgr("purchase", "add", "1", "--years", "1", "--name", "a.example", "--vendor", "V").code
        == 0
    )
    opened = certmgr("case", "open", "1", "a.example", "--reason", "first", "--own-csr")
    assert opened.code == 0, opened.err
    case = opened.out.split(":")[0].strip()
    accepted = {}
    reasons = ("not a regular file", "pipe, device", "not a file", "folder")
    for name, call in CALLS.items():
        refused = certmgr(*(a.replace("{case}", case).replace("{}", str(special)) for a in call))
        text = refused.err + refused.out
        # A long path is shortened, and a folder is no file that may be attached.
        refusal = any(r in text for r in reasons) and special.name in text
        refusal |= special.is_dir() and "is not a fingerprint" in text
        if not refusal or refused.code not in (2, 3) or "internal error" in text:
            accepted[name] = text
    assert not accepted, "\n".join(f"{k}: {v}" for k, v in accepted.items())


CONFIGURATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "database url": ('[database]\nurl = "file:{}"', ("client", "list")),
    "trust ca_files": ('[trust]\nca_files = ["{}"]', ("scan", "127.0.0.1:1/tls")),
    "trust rules": ('[trust]\nrules = "{}"', ("trust", "show")),
    "notify mail": ('[notify]\nmail = "file:{}"', ("notify",)),
    "notify inbox": ('[notify]\ninbox = "file:{}"', ("run", "--no-scan")),
    "notify heartbeat": ('[notify]\nheartbeat = "file:{}"', ("run", "--no-scan")),
    "notify channels": ('[notify]\nchannels = ["chat=file:{}"]', ("notify",)),
    "ca_file": (
        '[acme.ca.lab]\ndirectory = "https://127.0.0.1:1/d"\nca_file = "{}"\ninternal = true',
        ("account", "add", "lab", "--agree"),
    ),
    "audit passphrase": ('[audit]\npassphrase = "file:{}"', ("audit", "export", "--sign", "x")),
    "audit head_file": ('[audit]\nhead_file = "{}"', ("run", "--no-scan")),
    "audit timestamp_ca": (
        '[audit]\nhead_file = "/nonexistent/x"\ntimestamp_ca = "{}"\ntimestamp_url = "http://[::1]:1/"',
        ("run", "--no-scan"),
    ),
}


@pytest.mark.parametrize("special", ["pipe"], indirect=True)
def test_file_of_a_configuration_key_must_be_a_regular_file(
    certmgr: Runner, tmp_path: Path, special: Path
) -> None:
    assert certmgr("client", "list").code == 0
    config, accepted = tmp_path / "other.toml", {}
    for name, (text, arguments) in CONFIGURATIONS.items():
        config.write_text(text.replace("{}", str(special)))
        database = () if name == "database url" else ("--database", str(tmp_path / "cli.db"))
        refused = run(("--config", str(config), *database, *arguments), clock)
        # A device that is a head file is written to.
        named = str(special) in refused.err or name == "audit timestamp_ca"
        if refused.code not in (2, 3) or "internal error" in refused.err or not named:
            accepted[name] = refused.err + refused.out
    assert not accepted, "\n".join(f"{k}: {v}" for k, v in accepted.items())


def test_pipe_as_database_is_refused(certmgr: Runner, pipe: Path) -> None:
    assert certmgr("client", "list").code == 0
    refused = certmgr("--database", str(pipe), "client", "list")
    assert refused.code == 3, refused.out
    assert "Traceback" not in refused.err and "internal error" not in refused.err


def test_included_pipe_of_a_web_server_is_a_problem_and_no_wait(
    certmgr: Runner, tmp_path: Path, pipe: Path
) -> None:
    assert certmgr("client", "add", "1", "One").code == 0
    for kind, text in (
        ("nginx", f"server {{ listen 443 ssl; server_name a.example; }}\ninclude {pipe};\n"),
        ("nginx", f"include {tmp_path}/p*;\nserver {{ listen 443 ssl; server_name a.example; }}\n"),
        ("apache", f"Include {pipe}\n<VirtualHost *:443>\nServerName a.example\n</VirtualHost>\n"),
        ("apache", f"IncludeOptional {tmp_path}/p*\nUse x\n"),
    ):
        source = tmp_path / "server.conf"
        source.write_text(text)
        done = certmgr("import", str(source), "--from", kind, "--client", "1", "--dry-run")
        assert "internal error" not in done.err


def test_pipes_below_the_folder_of_certbot_are_a_problem_and_no_wait(
    certmgr: Runner, tmp_path: Path
) -> None:
    assert certmgr("client", "add", "1", "One").code == 0
    for folder in ("renewal", "live/a.example"):
        (tmp_path / "le" / folder).mkdir(parents=True)
    os.mkfifo(tmp_path / "le/renewal/a.example.conf")
    os.mkfifo(tmp_path / "le/live/a.example/cert.pem")
    done = certmgr("import", str(tmp_path / "le"), "--from", "certbot", "--client", "1")
    assert "internal error" not in done.err
    folder = str(tmp_path / "le")
    done = certmgr("lineage", "adopt", "--from", "certbot", "--path", folder, "--dry-run")
    assert done.code == 0 and "it is not a regular file" in done.out


def test_pipe_as_template_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "client.txt.j2")
    with pytest.raises(CertmgrError, match="pipe, device or socket"):
        Templates(str(tmp_path)).render("client", "en", "txt", {}, str)


@pytest.mark.parametrize("key", ["key_file", "known_hosts"])
def test_pipe_as_file_of_an_ssh_target_is_refused(tmp_path: Path, pipe: Path, key: str) -> None:
    regular = tmp_path / "key"
    regular.touch(0o600)
    named = TargetSettings(key_file=str(regular), known_hosts=str(regular))
    changes: dict[str, Any] = {"kind": "ssh", "host": "127.0.0.1", key: str(pipe)}
    target = replace(named, **changes)
    with pytest.raises(CertmgrError, match="regular file"), ssh.connect(target):
        pass


def test_pipe_as_schedule_of_certbot_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "etc/cron.d").mkdir(parents=True)
    os.mkfifo(tmp_path / "etc/cron.d/certbot")
    assert renewal_schedules(tmp_path) == []


@pytest.mark.parametrize("reference", ["config", "database"])
def test_pipe_never_holds_the_shell_at_tab(tmp_path: Path, pipe: Path, reference: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'[database]\nurl = "file:{pipe}"\n')
    environ = {"CERTMGR_CONFIG": str(pipe if reference == "config" else config)}
    with suppress(CertmgrError):
        assert list(completions(["certmgr", "client", "show", ""], environ)) == []


def test_pipe_is_refused_although_it_replaced_the_file_after_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inventory import files

    path = tmp_path / "file"
    path.write_text("x")
    check: Callable[[Path], None] = files.require_regular

    def replace(name: Path) -> None:
        check(name)
        path.unlink()
        os.mkfifo(path)

    monkeypatch.setattr(files, "require_regular", replace)
    with pytest.raises(CertmgrError, match="not a regular file"):
        files.read_regular(path, 10)
