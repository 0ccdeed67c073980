"""Accounts at a real CA."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from certmgr.acme.accounts import accounts
from certmgr.acme.accounts.accounts import AccountRequest
from certmgr.acme.accounts.key_rollover import rollover
from certmgr.acme.protocol.problems import AcmeError
from certmgr.acme.protocol.session import open_session
from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.x509.key_store import local_path
from inventory.db.database import Database
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.store import accounts as rows
from tests.certmgr.acme.shop import AcmeEnvironment, make_environment
from tests.servers.faulty import faulty
from tests.servers.pebble import Pebble


def test_account_is_registered_with_a_key_that_only_its_owner_reads(
    env: AcmeEnvironment, ca: Pebble
) -> None:
    with env.database.read() as conn:
        row = rows.find(conn, "main")
    path = local_path(row.key_reference)
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert (
        row.state == "active"
        and (row.url or "").startswith("https://")
        and row.terms
        and row.agreed_by == "tester"
    )
    account = accounts.fetch_account(env.settings, row)
    assert account["status"] == "valid" and account["contact"] == ["mailto:ca@provider.example"]


def test_terms_are_shown_and_not_agreed_to_without_agree(env: AcmeEnvironment) -> None:
    with pytest.raises(UsageError, match=r"terms of service: data:text/plain.*--agree"):
        accounts.add(env.context, AccountRequest("test", "other"))
    with env.database.read() as conn:
        assert [r.name for r in rows.listing(conn)] == ["main"]


def test_second_account_of_the_same_name_is_refused(env: AcmeEnvironment) -> None:
    with pytest.raises(Conflict, match="already"):
        env.register()


def test_pending_account_is_completed_with_the_same_key(env: AcmeEnvironment) -> None:
    """The process died before the CA's answer was recorded: the CA returns the existing account."""
    with env.database.write() as tx:
        before = rows.find(tx.conn, "main")
        rows.edit(tx, before.id, url=None, state="pending")
    after = env.register()
    assert after.url == before.url and after.key_reference == before.key_reference


def test_rolled_account_orders_and_is_deactivated_when_unused(env: AcmeEnvironment) -> None:
    with env.database.read() as conn:
        before = rows.find(conn, "main")
    for kind in ("rsa-2048", "ec-p384"):
        after = rollover(env.context, "main", kind)
        assert after.url == before.url and after.key_reference != before.key_reference
        assert accounts.fetch_account(env.settings, after)["status"] == "valid"
    assert local_path(before.key_reference).exists()
    with pytest.raises(AcmeError):
        accounts.fetch_account(env.settings, before)
    lineage = env.lineage("1001", ["shop.test"])
    with pytest.raises(Conflict, match="Move them first"):
        accounts.deactivate(env.context, "main")
    assert env.order(lineage).state == "issued"
    from inventory.store import lineages

    with env.database.write() as tx:
        lineages.edit(tx, lineage, state="retired")
    assert accounts.deactivate(env.context, "main").state == "retired"


def test_rollover_whose_answer_was_lost_is_completed(env: AcmeEnvironment) -> None:
    with env.database.read() as conn:
        before = rows.find(conn, "main")
    after = rollover(env.context, "main")
    with env.database.write() as tx:
        rows.edit(tx, before.id, key_reference=before.key_reference)
    again = rollover(env.context, "main")
    assert again.key_reference == after.key_reference
    assert accounts.fetch_account(env.settings, again)["status"] == "valid"


def test_account_is_bound_with_the_right_key_only(
    database: Database,
    settings: Settings,
    tmp_path: Path,
    binding_ca: Pebble,
    binding_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ca = binding_ca
    env = make_environment(
        database, settings, tmp_path, ca.directory, ca.ca_file, dns=ca.dns, http_port=ca.http_port
    )
    env.client("1001", "shop.test")
    with pytest.raises(UsageError, match="external account binding"):
        env.register()
    monkeypatch.setenv("EAB_KEY", binding_key)
    with pytest.raises(AcmeError):
        env.register("wrong", eab_kid="kid-2", eab_key="env:EAB_KEY")
    row = env.register(eab_kid="kid-1", eab_key="env:EAB_KEY")
    assert row.eab_kid == "kid-1"
    assert binding_key not in "".join(str(v) for v in row.as_dict().values())
    assert env.order(env.lineage("1001", ["shop.test"])).state == "issued"


def test_fallback_account_orders_while_the_first_ca_is_unreachable(
    env: AcmeEnvironment, ca: Pebble, tmp_path: Path
) -> None:
    """The first CA is a proxy that is stopped after the account was registered."""
    with faulty(tmp_path, ca.directory, ca.ca_file) as gone:
        first = replace(
            env.settings.acme.cas["test"], directory=gone.directory, ca_file=str(gone.ca_file)
        )
        env.configure(cas={**env.settings.acme.cas, "first": first})
        wanted = AccountRequest("first", "first", agree=True, fallback="main", by="tester")
        accounts.add(env.context, wanted)
    lineage = env.lineage("1001", ["shop.test"], account="first")
    done = env.order(lineage)
    assert done.state == "issued", done
    with env.database.read() as conn:
        assert env.orders(lineage)[0].account_id == rows.find(conn, "main").id


def test_account_unknown_to_the_ca_is_lost_and_not_used_again(
    env: AcmeEnvironment, binding_ca: Pebble
) -> None:
    """The CA lost its database: another CA answers, which does not know the account."""
    other = binding_ca
    moved = replace(
        env.settings.acme.cas["test"], directory=other.directory, ca_file=str(other.ca_file)
    )
    env.configure(cas={"test": moved})
    with env.database.write() as tx:
        row = rows.find(tx.conn, "main")
        base = other.directory.rpartition("/")[0]
        # Both CAs number their accounts from 1, and this one has other accounts.
        rows.edit(tx, row.id, directory=other.directory, url=f"{base}/my-account/987654321")
    lineage = env.lineage("1001", ["shop.test"])
    done = env.order(lineage)
    assert done.state == "failed" and "does not know this account" in done.message, done
    with env.database.read() as conn:
        assert rows.find(conn, "main").state == "lost"
    assert "is lost" in env.order(lineage).message


def test_missing_account_key_is_reported_in_one_message(env: AcmeEnvironment) -> None:
    with env.database.read() as conn:
        row = rows.find(conn, "main")
    local_path(row.key_reference).unlink()
    with pytest.raises(CertmgrError, match="Restore it from the backup"):
        open_session(env.settings, row)
    done = env.order(env.lineage("1001", ["shop.test"]))
    assert done.state == "failed" and "cannot be read" in done.message


@pytest.mark.parametrize("name", ["../../etc", "A", "a b", "", "-x", "x" * 60, "a/b", "ä"])
def test_name_that_could_be_a_path_is_refused(sqlite_database: Database, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        accounts.add(
            Context(sqlite_database, Settings(), sqlite_database.clock),
            AccountRequest("test", name, agree=True),
        )


@pytest.mark.parametrize(
    "directory",
    [
        "http://ca.test/dir",
        "ftp://ca.test",
        "https://",
        "https://u:p@ca.test/dir",
        "javascript:x",
        "https://ca.test/\x1b[31m",
    ],
)
def test_url_that_is_no_directory_is_refused(sqlite_database: Database, directory: str) -> None:
    with pytest.raises(UsageError, match="not a directory URL"):
        accounts.add(
            Context(sqlite_database, Settings(), sqlite_database.clock),
            AccountRequest("mine", "mine", directory=directory, agree=True),
        )


def test_internal_directory_is_not_requested_unless_allowed(
    env: AcmeEnvironment, ca: Pebble
) -> None:
    """Loopback is internal: it is requested only if the configuration allows it, also by name."""
    env.settings = replace(env.settings, network=replace(env.settings.network, allow=()))
    # Another directory than that of [acme.ca.test], which has internal = true.
    elsewhere = ca.directory.replace("127.0.0.1", "localhost")
    with pytest.raises(CertmgrError, match="is not visited: loopback"):
        accounts.add(
            env.context,
            AccountRequest("mine", "mine", directory=elsewhere, agree=True),
        )
