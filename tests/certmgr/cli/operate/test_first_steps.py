"""The way in: init, config, an inventory that does not exist yet, pasted targets, and search."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from tests import program
from tests.certmgr.cli.conftest import Runner
from tests.clock import clock
from tests.program import Ran


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of a user who has neither a configuration nor an inventory."""
    monkeypatch.delenv("CERTMGR_CONFIG", raising=False)
    monkeypatch.delenv("CERTMGR_SCAN_RESOLVERS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def run(*arguments: str, **environment: str) -> Ran:
    return program.run(arguments, clock, environment=environment)


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("status", "--format", "json"),
        ("client", "list"),
        ("domain", "add", "shop.example.test", "--client", "1"),
        ("scan",),
        ("run",),
        ("compliance",),
        ("report", "--client", "1"),
        ("notify",),
        ("export",),
        ("database", "check"),
    ],
)
def test_command_without_an_inventory_names_the_next_step_and_creates_nothing(
    folders: Path, command: tuple[str, ...]
) -> None:
    ran = run(*command)
    assert (ran.code, ran.out) == (2, "")
    assert "There is no inventory yet: " in ran.err and "certmgr init" in ran.err
    assert list(folders.iterdir()) == []


def test_next_step_after_init_is_the_first_client(folders: Path) -> None:
    """Without a contact, init writes the configuration alone."""
    assert run("init", "--name", "Provider").code == 0
    ran = run("status")
    assert ran.code == 2 and "certmgr init" not in ran.err
    assert "Add the first client: certmgr client add" in ran.err


def test_monitoring_without_an_inventory_is_unknown(folders: Path) -> None:
    ran = run("check")
    assert ran.code == 3
    assert ran.out.startswith("CERTMGR UNKNOWN - There is no inventory yet")


def test_init_writes_a_valid_commented_file_and_the_first_contact(folders: Path) -> None:
    ran = run(
        "init", "--name", 'Bäcker "H" GmbH\\', "--time-zone", "Europe/Berlin", "--language", "de",
        "--network", "192.0.2.0/24", "--network", "2001:db8::/32", "--resolver", "192.0.2.53",
        "--staff", "Eve", "--staff-mail", "eve@example.com", "--mail", "env:CERTMGR_MAIL",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-2].startswith("  certmgr client add ")
    assert ran.out.splitlines()[-1].startswith("  certmgr domain add ")
    file = folders / "config" / "certmgr" / "certmgr.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    written = tomllib.loads(text)
    assert written["provider"] == {
        "name": 'Bäcker "H" GmbH\\',
        "time_zone": "Europe/Berlin",
        "language": "de",
    }
    assert written["network"]["provider"] == ["192.0.2.0/24", "2001:db8::/32"]
    assert (written["scan"]["resolvers"], written["notify"]["mail"]) == (
        ["192.0.2.53"],
        "env:CERTMGR_MAIL",
    )
    assert text.count("# ") > 15
    assert "Eve" in run("contact", "list").out
    again = run("init", "--name", "Other")
    assert (again.code, file.read_text()) == (3, text)
    assert "--force" in again.err
    assert run("init", "--name", "Other", "--force").code == 0
    assert tomllib.loads(file.read_text())["provider"]["name"] == "Other"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--time-zone", "Mars/Base"), "Mars/Base"),
        (("--network", "192.0.2.300/24"), "--network"),
        (("--resolver", "dns.example.com"), "resolver"),
        (("--mail", "mailtos://user:geheim123@mail.example.com"), "password"),
        (("--mail", "mail.example.com"), "--mail"),
        (("--staff", "Eve"), "--staff-mail"),
        (("--staff", "Eve", "--staff-mail", "eve"), "e-mail address"),
    ],
)
def test_init_refuses_a_wrong_answer_and_writes_nothing(
    folders: Path, options: tuple[str, ...], reason: str
) -> None:
    ran = run("init", *options)
    assert ran.code == 2
    assert reason in ran.err and "geheim123" not in ran.err
    assert not (folders / "config" / "certmgr").exists()


def test_init_asks_again_after_a_wrong_answer(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.program._Stream.isatty", lambda _: True, raising=False)
    answers = (
        *("Rosen Hosting", "Europa/Berlin", "Europe/Berlin", "deutsch", "de"),
        *("192.0.2.0/33", "192.0.2.0/24 2001:db8::/32", "192.0.2.53", "smtp://x", "env:X"),
        *("postgresql://u:geheim123@db/certmgr", ""),
        *("Eve", "eve", "eve@example.com", "n", "n", ""),
    )
    ran = program.run(("init",), clock, input="".join(f"{a}\n" for a in answers))
    assert ran.code == 0, ran.err
    for reason in (
        "'Europa/Berlin' is unknown",
        "Choose en or de",
        "192.0.2.0/33",
        "'eve' is not",
        "no file n",
    ):
        assert ran.err.count(reason) == 1
    written = tomllib.loads((folders / "config" / "certmgr" / "certmgr.toml").read_text())
    assert written["provider"] == {
        "name": "Rosen Hosting",
        "time_zone": "Europe/Berlin",
        "language": "de",
    }
    assert written["network"]["provider"] == ["192.0.2.0/24", "2001:db8::/32"]
    assert "with a password" in ran.err and "geheim123" not in ran.err
    # Each question that may stay empty states so.
    for question in ("as clients know it", "Your networks", "Name servers", "Mail server"):
        assert re.search(rf"{question}[^\n]*\(empty: ", ran.out)


def test_init_adds_no_contact_without_an_address(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.program._Stream.isatty", lambda _: True, raising=False)
    answers = ("Rosen Hosting", "", "", "", "", "", "", "Eve", "", "")
    ran = program.run(("init",), clock, input="".join(f"{a}\n" for a in answers))
    assert ran.code == 0, ran.err
    assert "Its e-mail address (empty: no contact)" in ran.out
    assert "added" not in ran.out


def test_configuration_elsewhere_has_its_own_database_next_to_it(folders: Path) -> None:
    """A trial in a folder must not change the inventory of the default configuration."""
    trial = folders / "trial" / "shop.toml"
    ran = run("--config", str(trial), "init", "--staff", "Eve", "--staff-mail", "eve@example.com")
    assert ran.code == 0, ran.err
    own = trial.with_suffix(".db")
    assert own.is_file() and f"Database: {own}" in ran.out
    assert tomllib.loads(trial.read_text())["database"]["url"] == str(own)
    assert not (folders / "data").exists()
    # The printed commands work as they are.
    for line in ran.out.splitlines()[-2:]:
        words = shlex.split(line)
        assert run(*words[1:]).code == 0
    assert "shop.example.com" in run("--config", str(trial), "domain", "list").out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--database", "inventory.db"), "{here}/inventory.db"),
        (("--database", "postgresql://certmgr@db.example/certmgr"), None),
        (("--database", "env:MY_DATABASE"), None),
    ],
)
def test_init_writes_the_database_that_was_given(
    folders: Path, options: tuple[str, ...], expected: str | None
) -> None:
    ran = run(*options, "init", "--defaults")
    assert ran.code == 0, ran.err
    text = (folders / "config" / "certmgr" / "certmgr.toml").read_text()
    written = tomllib.loads(text)["database"]["url"]
    assert written == (expected or options[1]).format(here=Path.cwd())


def test_default_configuration_leaves_the_database_at_its_default(folders: Path) -> None:
    ran = run("init", "--defaults")
    assert ran.code == 0, ran.err
    text = (folders / "config" / "certmgr" / "certmgr.toml").read_text()
    assert "url" not in tomllib.loads(text)["database"]
    assert f"Database: {folders / 'data' / 'certmgr' / 'certmgr.db'}" in ran.out


def test_init_reports_a_mail_server_that_does_not_answer(folders: Path) -> None:
    secret = folders / "mail"
    secret.write_text("mailtos://user:geheim123@127.0.0.1:9?from=tls@example.com")
    secret.chmod(0o600)
    ran = run("init", "--mail", f"file:{secret}", "--test-mail")
    assert ran.code == 3
    assert "Mail server" in ran.err and "geheim123" not in ran.err + ran.out
    assert (folders / "config" / "certmgr" / "certmgr.toml").exists()


def test_config_shows_what_applies_and_masks_secrets(folders: Path) -> None:
    file = folders / "c.toml"
    file.write_text(
        '[provider]\nname = "Example"\n'
        '[database]\nurl = "postgresql://certmgr:geheim123@db.example.com/certmgr"\n'
        '[notify]\nmail = "mailtos://user:geheim123@mail.example.com"\n'
        'heartbeat = "https://hc.example.com/ping/geheim123"\n'
        'channels = ["chat=slack://geheim123/geheim123"]\n'
        '[acme.ca.lab]\ndirectory = "https://ca.example.com/dir?token=geheim123"\n'
    )
    for options in ((), ("--all",), ("--format", "json"), ("notify",)):
        ran = run("--config", str(file), "config", "show", *options)
        assert ran.code == 0, ran.err
        assert "geheim123" not in ran.out
    shown = run("--config", str(file), "config", "show", CERTMGR_SCAN_TIMEOUT="7.5").out
    assert 'name = "Example"' in shown and "timeout = 7.5" in shown
    assert 'channels = ["chat=***"]' in shown
    assert "[acme.ca.lab]" in shown and "hsts" not in shown
    assert run("--config", str(file), "config", "path").out.strip() == str(file)
    wrong = run("--config", str(file), "config", "show", "notfy")
    assert (wrong.code, wrong.out) == (2, "") and "notify" in wrong.err


def test_config_path_and_check(folders: Path) -> None:
    path = run("config", "path")
    assert path.code == 3 and "certmgr init" in path.err
    file = folders / "c.toml"
    file.write_text('[notify]\nmail = "env:NOT_SET_HERE"\n')
    ran = run("--config", str(file), "config", "check")
    assert ran.code == 3 and "NOT_SET_HERE" in ran.out
    assert run("--config", str(file), "config", "check", NOT_SET_HERE="mailtos://x").code == 0
    file.write_text('[notify]\nmial = "env:X"\n')
    ran = run("--config", str(file), "config", "check")
    assert ran.code == 2 and "Did you mean 'mail'" in ran.err


def test_domain_add_takes_many_names_as_people_paste_them(certmgr: Runner) -> None:
    assert certmgr("client", "add", "1", "Client").code == 0
    ran = certmgr(
        "domain", "add", "https://Shop.example.test/login?x=1", "blog.example.test/", "bücher.test",
        "shop.example.test", "--client", "1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    names = {d["name"] for d in certmgr("domain", "list", "--format", "json").json["domains"]}
    assert names == {"shop.example.test", "blog.example.test", "xn--bcher-kva.test"}
    again = certmgr("domain", "add", "shop.example.test", "new.example.test", "--client", "1")
    assert again.code == 3
    assert "shop.example.test" in again.err and "new.example.test added" in again.out
    wrong = certmgr("domain", "add", "fine.example.test", "not valid", "--client", "1")
    assert wrong.code == 2 and "fine.example.test" not in wrong.out


@pytest.mark.parametrize("text", ["Schäfer", "schafer", "SCHÄFER BLUMEN", "10017"])
def test_client_is_found_by_a_part_of_its_name(certmgr: Runner, text: str) -> None:
    certmgr("client", "add", "10017", "Schäfer Blumen GmbH")
    certmgr("client", "add", "10018", "Meier AG")
    ran = certmgr("client", "show", text)
    assert ran.code == 0, ran.err
    assert "Schäfer Blumen GmbH" in ran.out


def test_search_suggests_clients_and_domains(certmgr: Runner) -> None:
    for number, name in (("1", "Blumen Meier"), ("2", "Blumen Schäfer"), ("3", "Kanzlei Nguyen")):
        certmgr("client", "add", number, name)
    certmgr("domain", "add", "hotel-schaefer.test", "hotel-meier.test", "--client", "1")
    for text, expected in (("Blumen", "1 Blumen Meier, 2 Blumen Schäfer"), ("Nguyn", "3 Kanzlei")):
        ran = certmgr("client", "show", text)
        assert ran.code == 2 and expected in ran.err, ran.err
    for text, expected in (
        ("hotel-schaefer.tets", "hotel-schaefer.test"),
        ("hotel-shaefer.test", "hotel-schaefer.test"),
        ("hotel", "hotel-meier.test, hotel-schaefer.test"),
    ):
        ran = certmgr("domain", "show", text)
        assert ran.code == 2 and expected in ran.err, ran.err
    assert "certmgr domain list" in certmgr("domain", "show", "quite-other.invalid").err
    shown = certmgr("domain", "show", "https://hotel-meier.test/kontakt")
    assert shown.code == 0 and "hotel-meier.test" in shown.out
    # Characters with a meaning in a pattern of SQL are ordinary.
    assert certmgr("domain", "show", "%").code == 2


def test_status_before_the_first_scan_is_one_line_and_names_the_scan(certmgr: Runner) -> None:
    empty = certmgr("status")
    assert empty.code == 0 and "certmgr import FILE" in empty.out
    certmgr("client", "add", "1", "Rosen")
    names = [f"n{i}.rosen.example" for i in range(5)]
    certmgr("domain", "add", *names, "--client", "1")
    assert certmgr("status").out.count("it was not checked yet") == 5
    certmgr("domain", "add", "n5.rosen.example", "--client", "1")
    out = certmgr("status").out
    assert "6 endpoint(s) were not checked yet: certmgr scan\n" in out
    assert "rosen.example" not in out and "6 endpoint(s): 6 unknown." in out


def test_explanation_before_the_first_run_of_notices_states_that_nothing_was_decided(
    certmgr: Runner,
) -> None:
    certmgr("client", "add", "7", "Rosen")
    certmgr("domain", "add", "shop.example", "--client", "7")
    ran = certmgr("notify", "--explain", "shop.example")
    assert "certmgr notify has not run yet" in ran.out + ran.err
    assert certmgr("notify", "--queue-only").code == 0
    ran = certmgr("notify", "--explain", "shop.example")
    assert "no notice was due" in ran.out + ran.err
