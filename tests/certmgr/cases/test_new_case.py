"""A new case: one per name, and only with names and contacts of its client."""

from __future__ import annotations

import pytest

from certmgr.cases import new_case
from certmgr.cases.states import CaseAction
from inventory.errors import CertmgrError, Conflict, NotFound, UsageError
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
