"""A certificate that may belong to another client: what the output for one client states of it.

With such a certificate, an incomplete chain names the private CA of the other client.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from inventory.models import StoredFinding
from inventory.store import endpoints, findings
from inventory.targets import Target
from tests.clock import clock
from tests.databases import open_sqlite
from tests.inventory.store import builders
from tests.program import Ran

Runner = Callable[..., Ran]
HOST = "shop.one.test"
SECRET = "Private CA of Two"
EVIDENCE = {"missing": SECRET}


def _site(certmgr: Runner, folder: Path, *codes: str) -> None:
    """Add a site with an incomplete chain, and with findings of these codes."""
    assert certmgr("client", "add", "1", "One").code == 0
    assert certmgr("domain", "add", HOST, "--client", "1").code == 0
    database = open_sqlite(folder / "cli.db", clock=clock)
    with database.write() as tx:
        at = endpoints.find(tx.conn, Target(HOST)).id
        builders.add_finding(tx, at, "chain-incomplete", evidence=EVIDENCE, severity="critical")
        for code in codes:
            builders.add_finding(tx, at, code, evidence={}, severity="critical")
        certificate = builders.add_certificate(tx, "leaf", HOST)
        builders.serve(tx, at, certificate, "192.0.2.1")
    database.close()


OUTPUTS = [
    ("finding", "list", "--client", "1"),
    ("finding", "list", "--domain", HOST),
    ("finding", "list", "--domain", HOST, "--code", "chain-incomplete"),
    ("finding", "list", "--client", "1", "--closed"),
    ("compliance", "--client", "1"),
    ("compliance", "--domain", HOST),
    ("status", "--client", "1"),
    ("domain", "show", HOST),
    ("report", "--client", "1"),
]


@pytest.mark.parametrize("code", ["name-mismatch", "default-certificate", "self-signed"])
def test_issuer_of_a_certificate_of_another_client_is_in_no_output_for_one_client(
    certmgr: Runner, tmp_path: Path, code: str
) -> None:
    _site(certmgr, tmp_path, code)
    for arguments in OUTPUTS:
        for output_format in ((), ("--format", "json"), ("--format", "csv")):
            if arguments[:2] == ("domain", "show") and "csv" in output_format:
                continue
            done = certmgr(*arguments, *output_format)
            assert done.code in (0, 1), (arguments, done.err)
            assert "Private" not in done.out, arguments


def test_acceptance_of_the_wrong_certificate_does_not_reveal_its_issuer(
    certmgr: Runner, tmp_path: Path
) -> None:
    _site(certmgr, tmp_path, "name-mismatch")
    reason = ("--until", "2099-01-01", "--reason", "known", "--domain", HOST)
    assert certmgr("finding", "accept", "name-mismatch", *reason).code == 0
    for arguments in OUTPUTS:
        done = certmgr(*arguments, "--format", "json")
        assert done.code in (0, 1), (arguments, done.err)
        assert SECRET not in done.out, arguments


def test_issuer_of_a_certificate_of_the_client_is_named(certmgr: Runner, tmp_path: Path) -> None:
    _site(certmgr, tmp_path, "hsts-missing")
    for arguments in OUTPUTS:
        if arguments[0] != "status":  # its lines have codes and no evidence
            assert "Private" in certmgr(*arguments, "--format", "json").out, arguments


def test_closed_finding_of_the_wrong_certificate_concerns_the_findings_of_its_time(
    certmgr: Runner, tmp_path: Path
) -> None:
    _site(certmgr, tmp_path, "name-mismatch")
    database = open_sqlite(tmp_path / "cli.db", clock=clock)
    clock.advance(seconds=10)
    with database.write() as tx:
        tx.conn.execute(update(StoredFinding).values(closed_at=tx.at))
    clock.advance(seconds=10)
    with database.write() as tx:
        at = endpoints.find(tx.conn, Target(HOST)).id
        builders.add_finding(tx, at, "chain-incomplete", evidence={"missing": "Own CA"})
        assert len(findings.listing(tx.conn, closed=True)) == 3
    database.close()
    done = certmgr("finding", "list", "--client", "1", "--closed", "--format", "json")
    assert SECRET not in done.out
    assert "Own CA" in done.out
