"""Accounts at a real CA."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from certmgr.cases.keys import local_path
from certmgr.config import Settings
from certmgr.issuance import accounts
from certmgr.issuance.accounts import Wanted
from certmgr.issuance.problems import Refused
from inventory.database import Database
from inventory.errors import CertmgrError, Conflict, UsageError
from inventory.store import accounts as rows
from tests.certmgr.issuance.shop import Shop, shop
from tests.servers.pebble import Pebble, mac_key, pebble


def test_it_is_registered_with_a_key_that_nobody_else_reads(place: Shop, ca: Pebble) -> None:
    with place.database.read() as conn:
        row = rows.find(conn, "main")
    path = local_path(row["key_reference"])
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert row["state"] == "active" and row["url"].startswith("https://") and row["terms"] and row["agreed_by"] == "tester"
    said = accounts.look_up(place.settings, row)
    assert said["status"] == "valid" and said["contact"] == ["mailto:ca@provider.example"]


def test_the_terms_are_shown_and_not_agreed_to_unasked(place: Shop) -> None:
    with pytest.raises(UsageError, match=r"terms of service: data:text/plain.*--agree"):
        accounts.add(place.database, place.settings, Wanted("test", "other"))
    with place.database.read() as conn:
        assert [r["name"] for r in rows.listing(conn)] == ["main"]


def test_a_second_one_of_the_same_name_is_refused(place: Shop) -> None:
    with pytest.raises(Conflict, match="already"):
        place.register()


def test_one_that_was_begun_is_gone_on_with(place: Shop) -> None:
    """As if the process had died before the CA's answer was written: the CA answers with the account that it has for the key."""
    with place.database.write() as tx:
        before = rows.find(tx.conn, "main")
        rows.edit(tx, before["id"], url=None, state="pending")
    after = place.register()
    assert after["url"] == before["url"] and after["key_reference"] == before["key_reference"]


def test_rollover_and_deactivation(place: Shop) -> None:
    with place.database.read() as conn:
        before = rows.find(conn, "main")
    for kind in ("rsa-2048", "ec-p384"):
        after = accounts.rollover(place.database, place.settings, "main", kind)
        assert after["url"] == before["url"] and after["key_reference"] != before["key_reference"]
        assert accounts.look_up(place.settings, after)["status"] == "valid"
    assert local_path(before["key_reference"]).exists()
    with pytest.raises(Refused):
        accounts.look_up(place.settings, before)
    lineage = place.lineage("1001", ["shop.test"])
    with pytest.raises(Conflict, match="Move them first"):
        accounts.deactivate(place.database, place.settings, "main")
    assert place.order(lineage).state == "issued"
    from inventory.store import lineages

    with place.database.write() as tx:
        lineages.edit(tx, lineage, state="retired")
    assert accounts.deactivate(place.database, place.settings, "main")["state"] == "retired"


def test_a_rollover_whose_answer_was_lost_is_found_out(place: Shop) -> None:
    with place.database.read() as conn:
        before = rows.find(conn, "main")
    after = accounts.rollover(place.database, place.settings, "main")
    with place.database.write() as tx:
        rows.edit(tx, before["id"], key_reference=before["key_reference"])
    again = accounts.rollover(place.database, place.settings, "main")
    assert again["key_reference"] == after["key_reference"]
    assert accounts.look_up(place.settings, again)["status"] == "valid"


def test_external_account_binding(database: Database, settings: Settings, tmp_path: Path, opened: ExitStack) -> None:
    key = mac_key()
    ca = opened.enter_context(pebble(tmp_path / "pebble", eab={"kid-1": key}))
    place = shop(database, settings, tmp_path, ca.directory, ca.ca_file, dns=ca.dns, http_port=ca.http_port)
    place.client("1001", "shop.test")
    with pytest.raises(UsageError, match="external account binding"):
        place.register()
    os.environ["EAB_KEY"] = key
    try:
        with pytest.raises(Refused):
            place.register("wrong", eab_kid="kid-2", eab_key="env:EAB_KEY")
        row = place.register(eab_kid="kid-1", eab_key="env:EAB_KEY")
    finally:
        del os.environ["EAB_KEY"]
    assert row["eab_kid"] == "kid-1"
    assert key not in "".join(str(v) for v in row.values())
    assert place.order(place.lineage("1001", ["shop.test"])).state == "issued"


def test_the_second_ca_stands_in_while_the_first_is_away(place: Shop, tmp_path: Path, opened: ExitStack) -> None:
    """The first CA is switched off after its account was made."""
    with ExitStack() as short:
        gone = short.enter_context(pebble(tmp_path / "gone"))
        cas = {
            **place.settings.acme.cas,
            "first": replace(place.settings.acme.cas["test"], directory=gone.directory, ca_file=str(gone.ca_file)),
        }
        place.settings = replace(place.settings, acme=replace(place.settings.acme, cas=cas))
        accounts.add(place.database, place.settings, Wanted("first", "first", agree=True, fallback="main", by="tester"))
    lineage = place.lineage("1001", ["shop.test"], account="first")
    done = place.order(lineage)
    assert done.state == "issued", done
    with place.database.read() as conn:
        assert place.orders(lineage)[0]["account_id"] == rows.find(conn, "main")["id"]


def test_a_lost_account_is_said_and_not_asked_again(place: Shop, tmp_path: Path, opened: ExitStack) -> None:
    """The CA lost its database: it does not know the account any more."""
    fresh = opened.enter_context(pebble(tmp_path / "fresh"))
    cas = {"test": replace(place.settings.acme.cas["test"], directory=fresh.directory, ca_file=str(fresh.ca_file))}
    place.settings = replace(place.settings, acme=replace(place.settings.acme, cas=cas))
    with place.database.write() as tx:
        row = rows.find(tx.conn, "main")
        base = fresh.directory.rpartition("/")[0]
        rows.edit(tx, row["id"], directory=fresh.directory, url=f"{base}/my-account/{row['url'].rpartition('/')[2]}")
    lineage = place.lineage("1001", ["shop.test"])
    done = place.order(lineage)
    assert done.state == "failed" and "does not know this account" in done.said, done
    with place.database.read() as conn:
        assert rows.find(conn, "main")["state"] == "lost"
    assert "is lost" in place.order(lineage).said


def test_a_key_that_is_gone_is_one_clear_message(place: Shop) -> None:
    with place.database.read() as conn:
        row = rows.find(conn, "main")
    local_path(row["key_reference"]).unlink()
    with pytest.raises(CertmgrError, match="Restore it from the backup"):
        accounts.open_session(place.settings, row)
    done = place.order(place.lineage("1001", ["shop.test"]))
    assert done.state == "failed" and "cannot be read" in done.said


@pytest.mark.parametrize("name", ["../../etc", "A", "a b", "", "-x", "x" * 60, "a/b", "ä"])
def test_a_name_that_would_be_a_path_is_refused(place: Shop, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        accounts.add(place.database, place.settings, Wanted("test", name, agree=True))


@pytest.mark.parametrize(
    "directory",
    ["http://ca.test/dir", "ftp://ca.test", "https://", "https://u:p@ca.test/dir", "javascript:x", "https://ca.test/\x1b[31m"],
)
def test_a_directory_that_is_none_is_refused(place: Shop, directory: str) -> None:
    with pytest.raises(UsageError, match="no directory URL"):
        accounts.add(place.database, place.settings, Wanted("mine", "mine", directory=directory, agree=True))


def test_a_directory_inside_is_not_asked_unless_allowed(place: Shop, ca: Pebble) -> None:
    """Loopback is inside: only what the configuration allows is asked, also where a name leads there."""
    place.settings = replace(place.settings, network=replace(place.settings.network, allow=()))
    elsewhere = ca.directory.replace("127.0.0.1", "localhost")  # not the one of [acme.ca.test], which says internal = true
    with pytest.raises(CertmgrError, match="leads to an address inside: loopback"):
        accounts.add(place.database, place.settings, Wanted("mine", "mine", directory=elsewhere, agree=True))
