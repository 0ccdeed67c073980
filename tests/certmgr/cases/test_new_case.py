"""A new case: one per name, and only with names and contacts of its client."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmgr.cases import new_case
from certmgr.cases.states import CaseAction
from inventory.errors import CertmgrError, Conflict, NotFound, UsageError
from inventory.store import cases, purchase_changes
from tests.certmgr.cases.place import HOST, OTHER_HOST, SECOND_HOST, CaseEnvironment


def test_second_case_of_a_name_is_refused_while_one_is_open(env: CaseEnvironment) -> None:
    first = new_case.open_case(env.service, "1001", [HOST]).reference
    with pytest.raises(Conflict, match=first):
        new_case.open_case(env.service, "1001", [SECOND_HOST, HOST])
    env.service.end(first, CaseAction.DECLINE, "not wanted")
    second = new_case.open_case(env.service, "1001", [HOST]).reference
    with pytest.raises(Conflict, match=second):
        env.service.end(first, CaseAction.REOPEN, "wanted after all")


def test_name_or_contact_of_another_client_is_refused(env: CaseEnvironment) -> None:
    with pytest.raises(CertmgrError, match="belongs to the client 1002"):
        new_case.open_case(env.service, "1001", [f"www.{OTHER_HOST}"])
    with pytest.raises(UsageError, match="contact of a client"):
        new_case.open_case(env.service, "1001", [HOST], new_case.CaseOptions(staff="Owner 1002"))
    with pytest.raises(NotFound):
        new_case.open_case(env.service, "1001", [HOST], new_case.CaseOptions(contact="Owner 1002"))


def test_case_is_for_the_one_active_purchase_that_covers_its_names(env: CaseEnvironment) -> None:
    def buy(number: str, *names: str, **given: object) -> int:
        values = {"vendor": "V", "number": number, "years": 1, "starts_at": env.now}
        with env.database.write(env.now) as tx:
            return purchase_changes.add(tx, "1001", values | given, list(names))[0]

    def opened(*names: str) -> int | None:
        """Open a case, end it, and return its purchase."""
        row = new_case.open_case(env.service, "1001", list(names))
        env.service.end(row.reference, CaseAction.DECLINE, "test")
        return row.order_id

    year = timedelta(days=365)
    buy("over", HOST, SECOND_HOST, starts_at=env.now - 2 * year)
    assert opened(HOST) is None, "a term that is over pays for nothing"
    one = buy("one", HOST)
    assert opened(HOST) == one
    assert opened(HOST, SECOND_HOST) is None, "it pays for one of the names only"
    two = buy("two", HOST, SECOND_HOST)
    assert opened(HOST, SECOND_HOST) == two
    assert opened(HOST) is None, "two purchases cover it"
    with env.database.write(env.now) as tx:
        purchase_changes.cancel(tx, "one", "test")
    assert opened(HOST) == two


def test_case_for_a_wildcard_needs_a_purchase_of_the_wildcard(env: CaseEnvironment) -> None:
    values = {"vendor": "V", "years": 1, "starts_at": env.now}
    wildcard = f"*.{HOST}"
    with env.database.write(env.now) as tx:
        purchase_changes.add(tx, "1001", values, [f"www.{HOST}"])
    assert new_case.open_case(env.service, "1001", [wildcard]).order_id is None
    with env.database.write(env.now) as tx:
        bought, _ = purchase_changes.add(tx, "1001", values, [wildcard])
    with env.database.read() as conn:
        row = next(c for c in cases.listing(conn))
    env.service.end(row.reference, CaseAction.DECLINE, "test")
    assert new_case.open_case(env.service, "1001", [wildcard]).order_id == bought
