"""Tests of ``certmgr import`` and ``certmgr export``."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.certmgr.cli.refusals import assert_refused
from tests.program import Ran

Runner = Callable[..., Ran]


def _domains(certmgr: Runner) -> list[str]:
    return [d["name"] for d in certmgr("domain", "list", "--format", "json").json["domains"]]


def test_import_stores_valid_rows_reports_invalid_ones_and_a_dry_run_stores_nothing(
    certmgr: Runner,
    tmp_path: Path,
) -> None:
    source = tmp_path / "in.csv"
    valid = "client,client_name,domain\n1,One,a.example.com\n"
    source.write_text(f"{valid}1,One,bad name\n")
    dry = certmgr("import", str(source), "--from", "csv", "--dry-run")
    assert dry.code == 3
    assert "+ domain a.example.com" in dry.out
    assert f"{source}:3" in dry.err
    assert _domains(certmgr) == []
    assert certmgr("import", str(source), "--from", "csv").code == 3
    assert _domains(certmgr) == ["a.example.com"]
    source.write_text(valid)
    again = certmgr("import", str(source), "--from", "csv")
    assert (again.code, "nothing to change" in again.out) == (0, True)


def test_export_is_a_private_file_of_the_documented_schema(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "1", "One")
    out = tmp_path / "out.json"
    assert certmgr("export", "--output", str(out)).code == 0
    assert json.loads(out.read_text())["schema"] == "certmgr.inventory/1"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_export_replaces_a_link_and_writes_into_a_pipe(certmgr: Runner, tmp_path: Path) -> None:
    certmgr("client", "add", "1", "One")
    real, link, pipe = (tmp_path / name for name in ("real.json", "link.json", "pipe"))
    real.write_text("")
    link.symlink_to(real)
    assert certmgr("export", "--output", str(link)).code == 0
    assert not link.is_symlink()
    assert "One" in link.read_text()
    assert real.read_text() == ""
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    assert certmgr("export", "--output", str(pipe)).code == 0
    assert "One" in reader.communicate()[0]
    assert pipe.is_fifo()


def test_unusable_file_of_an_import_or_export_is_refused(certmgr: Runner, tmp_path: Path) -> None:
    missing = certmgr("import", str(tmp_path / "none.csv"), "--from", "csv")
    assert_refused(missing, 2, "cannot be read")
    assert_refused(certmgr("import", str(tmp_path), "--from", "zone"), 2, "needs --client")
    assert_refused(certmgr("export", "--output", "/nowhere/out.json"), 3, "cannot be written")
