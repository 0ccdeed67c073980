"""The log: its two formats, the id of the run on each line, and no secret in any."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from certmgr.cli.logs import PACKAGES, configure
from certmgr.config import redaction


@pytest.fixture(autouse=True)
def restored_loggers() -> Iterator[None]:
    """Later tests log as before."""
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [(x, list(x.handlers), x.level, x.propagate) for x in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_json_line_has_time_level_run_logger_and_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_id = configure(1, "json")
    logging.getLogger("certmgr.acme.protocol.client").info(
        "POST %s: %d", "https://ca.test/order", 201
    )
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "run": run_id,
        "logger": "certmgr.acme.protocol.client",
        "message": "POST https://ca.test/order: 201",
    }


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [(0, ["warning"]), (1, ["info", "warning"]), (2, ["debug", "info", "warning"])],
)
def test_verbosity_selects_the_levels(
    verbosity: int, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    configure(verbosity, "text")
    logger = logging.getLogger("notifiers.delivery")
    logger.debug("debug")
    logger.info("info")
    logger.warning("warning")
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == shown


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_and_control_characters_are_not_logged(
    log_format: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction, "_secrets", set())
    redaction.register("hunter2-hunter2")
    configure(2, "json" if log_format == "json" else "text")
    logger = logging.getLogger("certmgr.deploy.ssh")
    logger.warning("sent hunter2-hunter2 to https://ada:secret@host/\x1b[2J\nforged line")
    output = capsys.readouterr().err
    assert "hunter2" not in output and "secret" not in output and "\x1b" not in output
    assert len(output.splitlines()) == 1 and "https://***@host/" in output


def test_short_secret_does_not_mask_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", set())
    redaction.register("mail")
    assert redaction.redact("mail to mail") == "mail to mail"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://ada:hunter2x@host.example/a", "host.example/a"),
        ("https://ada:p@hunter2x@host.example/a", "host.example/a"),
        ("https://host.example/a?password=hunter2x&b=1", "&b=1"),
        ("https://host.example/a?b=1&access_token=hunter2x#c", "?b=1"),
        ("postgresql://host.example/x?sslpassword=hunter2x", "host.example/x"),
        ("GET /hook?api-key=hunter2x failed", "failed"),
        ("https://host.example/a?X-Amz-Signature=hunter2x", "host.example/a"),
    ],
)
def test_secret_in_a_url_is_removed(text: str, kept: str) -> None:
    assert "hunter2x" not in redaction.redact(text)
    assert kept in redaction.redact(text)
