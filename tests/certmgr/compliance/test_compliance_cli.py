"""``certmgr compliance``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from tests.certmgr.compliance.scanned_site import HOST, HSTS, ScannedSite
from tests.program import Ran

Run = Callable[..., Ran]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--client", "4711"), "no client"),
        (("--as-of", "someday"), "is not a date"),
        (("--deadline", "nothing"), "no deadline"),
        (("--deadline", "chrome-90"), "cannot be checked"),
    ],
)
def test_invalid_options_of_compliance_are_refused(
    certmgr: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = certmgr("compliance", *arguments)
    assert done.code == 2
    assert message in done.err


def test_compliance_is_printed_as_json_table_and_csv(
    certmgr: Run, site: ScannedSite, issuer: Authority, tmp_path: Path
) -> None:
    site.serve(
        issuer.issue(HOST),
        "index page.html;",
        f"{HSTS} return 200 ok;",
        "<input type=password name=pw>",
    )
    site.scan()
    done = certmgr("--database", str(tmp_path / "site.db"), "compliance", "--format", "json")
    assert done.code == 1, "a password over HTTP is critical"
    (row,) = [r for r in done.json["rows"] if r["deadline"] == "chrome-56"]
    assert (row["status"], row["codes"], row["domain"], row["client"]) == (
        "does-not-comply",
        ["http-collects-secrets"],
        HOST,
        "1001",
    )
    (announced,) = [r for r in done.json["rows"] if r["deadline"] == "chrome-154"]
    assert announced["confirmed"] is False
    assert done.json["summary"]["domains"] == 1
    table = certmgr("--database", str(tmp_path / "site.db"), "compliance")
    assert "does not comply" in table.out
    assert certmgr("--database", str(tmp_path / "site.db"), "compliance", "--exit-zero").code == 0
    csv = certmgr(
        "--database", str(tmp_path / "site.db"), "compliance", "--format", "csv", "--client", "1001"
    )
    assert csv.out.startswith("domain,client,status,")
    states = {line.split(",")[2] for line in csv.out.splitlines()[1:]}
    assert {"complies", "does-not-comply"} <= states, "CSV leaves out no row"
