"""Tests of ``certmgr audit``: detection of changes, and absence of personal data."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from inventory.db.database import sqlite_module
from tests.certmgr.installation import Installation


def test_changed_or_truncated_audit_log_is_detected(installation: Installation) -> None:
    run = installation.run
    head = run("audit", "verify").out.split()[-1]
    assert "follow each other" in run("audit", "verify", "--expect", head).out
    for other in ("", " ", "0" * 63, "z" * 64, head + "0"):
        assert "is not a hash" in run("audit", "verify", "--expect", other, expect=2).err
    assert run("audit", "verify", "--expect", f" {head.upper()}").out
    connection: sqlite3.Connection = sqlite_module().connect(installation.database)
    with closing(connection):
        connection.execute("UPDATE audit SET actor = 'another actor' WHERE id = 2")
        connection.commit()
        assert "entry 2 does not follow" in run("audit", "verify", expect=3).err
        connection.execute("DELETE FROM audit WHERE id >= 2")
        connection.commit()
    # A truncated log is consistent: only a head hash stored elsewhere reveals the truncation.
    assert "1 entries follow" in run("audit", "verify").out
    assert "was cut" in run("audit", "verify", "--expect", head, expect=3).err


def test_audit_log_holds_ids_and_no_personal_data(installation: Installation) -> None:
    entries = installation.run("audit", "list", "--format", "json").json["entries"]
    assert entries
    text = json.dumps(entries)
    for personal in ("Rosen", "Ada", "ada@rosen", "shop.example", "parked.example", "Grace"):
        assert personal not in text
