"""The process that parses mail, if it does not do its work."""

from __future__ import annotations

import signal

import pytest

from inventory.errors import CertmgrError
from notifiers.inbox import process as process_module
from notifiers.inbox.process import MailParserProcess
from tests.campaign import PATIENCE
from tests.notifiers.inbox.mails import reply


@pytest.mark.parametrize("size", [10, 500_000], ids=["short-mail", "longer-than-a-pipe"])
def test_process_that_is_stopped_ends_the_reading(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    with MailParserProcess() as process:
        process.parse(reply())
        assert process._process is not None
        process._process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(process_module, "ANSWER_SECONDS", 0.3)
        with pytest.raises(CertmgrError, match="does not answer"):
            process.parse(reply(text="a" * size))
        monkeypatch.setattr(process_module, "ANSWER_SECONDS", PATIENCE)
        assert process.parse(reply()).kind == "reply"
