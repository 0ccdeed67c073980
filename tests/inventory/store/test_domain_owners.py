"""The owner of a name is the nearest domain's client; names of another client are refused."""

from __future__ import annotations

import pytest

from inventory.db.database import Database
from inventory.errors import Conflict, UsageError
from inventory.store import (
    domain_owners,
    domains,
)
from tests.inventory.store.builders import (
    NOW,
    add_site,
)
from tests.inventory.store.casework import client_ids


def test_owner_is_that_of_the_nearest_active_domain(pair: Database) -> None:
    one, two = client_ids(pair)
    with pair.write(NOW) as tx:
        add_site(tx, "1002", "b.shop1001.example")
        add_site(tx, "1002", "192.0.2.7")
        add_site(tx, "1002", "2001:db8::1")
        conn = tx.conn
        expected = {
            "shop1001.example": ("shop1001.example", one),
            "a.shop1001.example": ("shop1001.example", one),
            "x.b.shop1001.example": ("b.shop1001.example", two),
            "192.0.2.7": ("192.0.2.7", two),
            "2001:db8::1": ("2001:db8::1", two),
        }
        for host, (name, owner) in expected.items():
            found = domain_owners.owner_of(conn, host)
            assert found is not None, host
            assert (found.name, found.client_id) == (name, owner)
        for host in ("example", "strange.example", "notshop1001.example", "192.0.2.8"):
            assert domain_owners.owner_of(conn, host) is None, host
        domains.retire(tx, "b.shop1001.example")
        found = domain_owners.owner_of(conn, "x.b.shop1001.example")
        assert found is not None
        assert found.client_id == one


def test_names_are_taken_apart_once_and_those_of_another_client_are_refused(pair: Database) -> None:
    one, two = client_ids(pair)
    with pair.read() as conn:
        typed = ["shop1001.example, *.shop1001.example", "SHOP1001.example strange.example"]
        found, strange = domain_owners.names_of(conn, one, typed)
        assert found == ["shop1001.example", "*.shop1001.example", "strange.example"]
        assert strange == ["strange.example"]
        assert domain_owners.names_of(conn, one, []) == ([], [])
        with pytest.raises(Conflict, match=r"shop1001\.example belongs to the client 1001"):
            domain_owners.names_of(conn, two, typed)
        with pytest.raises(
            UsageError,
            match=r"There are 3 names: one certificate covers at most 2",
        ):
            domain_owners.names_of(conn, one, typed, 2)
        many = [f"h{i}.shop1001.example" for i in range(domain_owners.MAX_NAMES)]
        assert len(domain_owners.names_of(conn, one, many)[0]) == 250
        with pytest.raises(UsageError, match="There are 251 names"):
            domain_owners.names_of(conn, one, [*many, "shop1001.example"])
