"""What commands print for people: details of the audit log, evidence, folded lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certmgr.cli.output import audit_words, detail_words
from inventory.store import accounts, acme_orders
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran

Runner = Callable[..., Ran]


@pytest.mark.parametrize(
    ("action", "detail", "words"),
    [
        ("edit", {"server_id": [1, 2], "state": ["active", "leaving"]}, "state active -> leaving"),
        ("edit", {"name": ["-", "-"]}, "name changed"),
        ("add", {"renews": [None, "us"]}, "renews none -> us"),
        ("import", {"label": "-"}, ""),
        ("tag", {"added": ["gold", "vip"], "removed": []}, "added gold, vip; removed none"),
    ],
)
def test_audit_entry_shows_a_change_as_old_and_new_and_no_withheld_value(
    action: str, detail: dict[str, Any], words: str
) -> None:
    assert audit_words(action, detail) == words


def test_evidence_with_two_values_is_a_list() -> None:
    assert detail_words({"fields": ["user", "password"]}) == "fields user, password"


def test_dashboard_and_report_are_not_written_to_a_terminal(
    certmgr: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    certmgr("client", "add", "7", "Rosen")
    monkeypatch.setattr("tests.program._Stream.isatty", lambda _: True, raising=False)
    for command in (("dashboard",), ("report", "--client", "7")):
        ran = certmgr(*command)
        assert (ran.code, ran.out) == (2, "")
        assert "--output" in ran.err
    assert certmgr("report", "--client", "7", "--format", "json").code == 0


def test_limit_of_another_account_is_not_shown_with_an_account(
    certmgr: Runner, tmp_path: Path
) -> None:
    certmgr("client", "add", "7", "Rosen")
    directory = "https://ca.example/directory"
    database = open_sqlite(tmp_path / "cli.db")
    with database.write(clock()) as tx:
        for name in ("first", "second"):
            known = {"ca": "own", "directory": directory, "key_reference": f"{name}.pem"}
            accounts.add(tx, {"name": name, **known})
        for scope in ("account:first", "account:second", "domain:rosen.example", ""):
            acme_orders.back_off(tx, directory, scope, 1, 2_000_000_000, f"reason of {scope!r}")
    database.close()
    shown = certmgr("account", "show", "first")
    assert shown.code == 0, shown.err
    out = shown.out
    assert "reason of 'account:first'" in out and "reason of 'domain:rosen.example'" in out
    assert "reason of ''" in out and "account:second" not in out
