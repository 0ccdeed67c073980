"""A server that sends one byte at a time holds no command: each wait has an end of its own."""

from __future__ import annotations

import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from certmgr.cli.notify import notice_mail
from certmgr.operations import doctor
from certmgr.operations.check_result import CheckResult, CheckState
from tests.campaign import PATIENCE
from tests.certmgr.cli.conftest import Runner
from tests.certmgr.net.scripted import scripted

_LEAVES_A_THREAD = """
import threading
from certmgr.cli import main
def leave(_):
    threading.Thread(target=threading.Event().wait).start()
    print("done")
    return 3
main.main = leave
main.run()
"""


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """The TLS context of a server whose CA the machine trusts."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with ca.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        yield context


def test_dripping_mailbox_is_given_up(
    certmgr: Runner, tmp_path: Path, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_mail, "BUDGET_SECONDS", 0.5)
    with scripted(b"* OK", b"-", trust=trust, at_once=True) as server:
        url = f"imaps://user:secret@localhost:{server.port}/INBOX"
        (tmp_path / "certmgr.toml").write_text(f'[notify]\ninbox = "{url}"\n')
        done = certmgr("notice", "inbox")
    assert done.code == 3
    assert "The mailbox was not read to its end" in done.err and "secret" not in done.err


def test_dripping_mail_server_does_not_hold_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECK_SECONDS", 0.5)

    def wait() -> Iterator[CheckResult]:

        with scripted(b"220", b"-", at_once=True) as server:
            smtplib.SMTP("127.0.0.1", server.port, timeout=10)
        yield CheckResult("mail server", CheckState.OK, "")

    (result,) = doctor._guarded("mail server", wait)
    assert result.state == "fault" and "did not end within" in result.what


def test_thread_that_waits_for_a_server_does_not_keep_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEAVES_A_THREAD], capture_output=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (3, b"done\n")
