"""The configuration of notices is checked before anything is decided."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.certmgr.installation import ADA, Installation


@pytest.mark.parametrize(
    "url",
    [
        "certmgr:s3cret-word@smtp.example.test",
        "s3cret-word",
        "mailtos:certmgr:s3cret-word@localhost",
    ],
)
def test_secret_of_an_invalid_channel_is_not_shown(installation: Installation, url: str) -> None:
    done = installation.run("notify", expect=2, MAIL_URL=url)
    assert "s3cret-word" not in done.out + done.err
    assert "unknown kind" in done.err
    assert "s3cret-word" not in installation.run("doctor", expect=None, MAIL_URL=url).out


MAIL = "desk=mailtos://u:secret-word@h.example?from=a@b.example"


@pytest.mark.parametrize(
    ("notify", "words"),
    [
        ('thresholds = ["soon"]', "thresholds has"),
        ('thresholds = ["tag:=30"]', "thresholds has"),
        ('freezes = ["Christmas"]', "freezes has"),
        ('freezes = ["2027-01-06/2026-12-20"]', "ends before it begins"),
        ('country = "ZZ"', "country 'ZZ' is unknown"),
        ('channels = ["nothing"]', "each is name=URL"),
        (f'channels = ["{MAIL}"]', "is a mail channel"),
        ('channels = ["desk=json://h.example/secret-word"]', "not encrypted"),
        ('templates = "/nowhere"', "is not a directory"),
        ("digest_hour = 25", "must be an hour"),
        ("mass_percent = 200.0", "mass_percent is invalid"),
        ('unknown = "x"', "unknown key"),
    ],
)
def test_wrong_configuration_is_refused_in_one_line(
    installation: Installation,
    notify: str,
    words: str,
) -> None:
    installation.config(notify=notify)
    done = installation.run("notify", expect=2)
    assert words in done.err
    assert "secret-word" not in done.err
    assert len(done.err.splitlines()) == 1


def test_own_template_is_used_and_a_broken_one_refused_with_its_name(
    due_installation: Installation,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    text = folder / "client.de.txt.j2"
    text.write_text("Eigener Text: {{ m.lead }}\n")
    html = "<p>Eigener Text: {{ m.lead }} {{ m.blocks[0].heading }}</p>\n"
    (folder / "client.de.html.j2").write_text(html)
    due_installation.config(notify=f'templates = "{folder}"')
    due_installation.run("notify")
    assert "Eigener Text" in due_installation.mail.to(ADA)[0].text
    for broken, words in (
        ("{{ m.nothing }}", "nothing"),
        ("{% if %}", "client.de.txt.j2, line 1"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ 'x' * 99999999 }}", "characters"),
    ):
        text.write_text(broken)
        done = due_installation.run("notify", expect=2)
        assert words in done.err, done.err
        assert len(done.err.splitlines()) == 1
