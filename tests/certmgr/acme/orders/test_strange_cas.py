"""Orders at a CA that departs from RFC 8555: none is lost, repeated or blamed on a name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from certmgr.acme.results import IssueState
from inventory.store import lineage_names
from tests.certmgr.acme.strange_ca import Fault, document, problem
from tests.certmgr.acme.strange_shop import NAME, Shop

PORTAL = (200, {"Content-Type": "text/html"}, b"<html>portal</html>")
REFUSED = (401, {"Content-Type": "text/html"}, b"<html>log in</html>")
BUSY = (503, {"Content-Type": "text/html"}, b"<html>busy</html>")
ABSENT = problem("malformed", "no such certificate", 404)
TERMS = problem("userActionRequired", "terms changed", 403)


STEPS = (
    ("dir", "newNonce", "newOrder"),
    ("order", "authz", "challenge"),
    ("finalize", "certificate"),
)


@pytest.mark.parametrize("steps", STEPS, ids="-".join)
@pytest.mark.parametrize(
    "answer", [BUSY, REFUSED, PORTAL], ids=["503", "401 of a proxy", "page of a portal"]
)
def test_answer_that_is_not_about_the_order_costs_no_second_order(
    shop: Shop, steps: tuple[str, ...], answer: Fault
) -> None:
    """Each run meets the answer at one step, and the next one goes on with the same order."""
    shop.ca.faults = {step: [answer] for step in steps}
    shop.until_issued()
    assert shop.placed == 1
    assert not any(shop.ca.faults.values()), "a step was not requested"


@pytest.mark.parametrize(
    "answer",
    [
        ABSENT,
        TERMS,
        (404, {}, b"not found"),
        (202, {"Retry-After": "5"}, b""),
        (200, {"Content-Type": "application/pem-certificate-chain"}, b""),
    ],
)
def test_issued_certificate_is_downloaded_later_and_not_ordered_again(
    shop: Shop, answer: Fault
) -> None:
    shop.ca.faults = {"certificate": [answer, answer]}
    assert shop.until_issued() == [IssueState.FAILED, IssueState.FAILED, IssueState.ISSUED]
    assert shop.placed == 1


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("application/json", lambda pem: pem + pem),
        ("text/html", lambda pem: b"Subject: x\r\n" + pem.replace(b"\n", b"\r\n")),
        ("", lambda pem: pem.replace(b"TE-----\n", b"TE-----").replace(b"TE-----M", b"TE-----\nM")),
        ("application/octet-stream", lambda pem: pem.strip()),
    ],
    ids=["twice", "text and CRLF", "no line ends between", "no last line end"],
)
def test_chain_in_another_form_is_taken(shop: Shop, changed: Any, kind: str) -> None:
    def answer(usual: Any) -> Any:
        return 200, {"Content-Type": kind}, changed(usual[2])

    result = shop.order(certificate=[answer])
    assert result.state is IssueState.ISSUED and shop.placed == 1, result


@pytest.mark.parametrize("status", ["deactivated", "expired", "revoked"])
@pytest.mark.parametrize("answers", [0, 1], ids=["before", "after the notification"])
def test_authorization_that_ended_is_no_failure_of_its_name(
    shop: Shop, status: str, answers: int
) -> None:
    """Two failures quarantine a name: the order is replaced at once instead."""
    before: list[Fault | None] = [None] * answers
    result = shop.order(authz=[*before, document(status=status)])
    assert result.state is IssueState.ISSUED and shop.placed == 2
    assert _failures(shop) == 0


def _failures(shop: Shop) -> int:
    with shop.env.database.read() as conn:
        (row,) = lineage_names.by_lineage(conn, [shop.lineage])[shop.lineage]
    return row.failures


@pytest.mark.parametrize("status", ["invalid", "deactivated"])
def test_order_that_ended_without_a_reason_is_replaced(shop: Shop, status: str) -> None:
    result = shop.order(order=[document(status=status)])
    assert result.state is IssueState.ISSUED and shop.placed == 2
    assert _failures(shop) == 0


@pytest.mark.parametrize(
    "faults",
    [
        {"authz": [document(status="processing"), document(status="processing")]},
        {"order": [document(status="processing"), document(status="ready")]},
        {"order": [document(status="pending"), document(status="pending")]},
        {"order": [None, None, document(status="valid"), document(status="processing")]},
        {"authz": [document(identifier={"type": "dns", "value": f"{NAME.upper()}."})]},
        {"finalize": [problem("orderNotReady", "", 403)] * 3},
        # Another request finalized it: the CA refuses this one, or its answer was lost.
        {"finalize": [lambda _: problem("orderNotReady", "its status is valid", 403)]},
        {"finalize": [lambda usual: (201, usual[1], usual[2])]},
        {"finalize": [lambda _: (200, {}, b"")]},
        {"newOrder": [problem("badNonce")] * 20},
    ],
)
def test_status_that_jumps_is_followed(shop: Shop, faults: dict[str, list[Fault | None]]) -> None:
    result = shop.order(**faults)
    assert result.state is IssueState.ISSUED and shop.placed == 1, result


def test_failed_challenge_of_a_pending_authorization_is_a_failure(shop: Shop) -> None:
    """Waiting for the decision would take five minutes per run, for days."""

    def failed(usual: Any) -> Any:
        error = {"type": "urn:ietf:params:acme:error:connection", "detail": "refused"}
        challenge = {**usual[2]["challenges"][0], "status": "invalid", "error": error}
        return 200, {}, {**usual[2], "status": "pending", "challenges": [challenge]}

    begin = shop.clock()
    result = shop.order(authz=[None, failed])
    assert result.state is IssueState.FAILED and "refused" in result.message
    assert shop.clock() - begin < timedelta(minutes=1) and _failures(shop) == 1


def test_order_in_processing_is_continued_for_days_and_then_replaced(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certmgr.acme.orders.order.FINALIZE_SECONDS", 20.0)
    shop.ca.lasting = {"order": document(status="processing", certificate=None)}
    result = shop.order()
    # The CA asked for nothing, so the message names our limit.
    assert "the time limit is reached" in result.message
    for days in (1, 2):
        shop.clock.advance(days=1)
        shop.order()
        assert shop.placed == 1, f"after {days} days"
    shop.clock.advance(days=1, hours=1)
    shop.ca.lasting = {}
    shop.ca.faults["order"] = [document(status="processing", certificate=None)] * 60
    shop.order()
    assert shop.placed == 2
    shop.ca.faults.clear()
    assert shop.until_issued()[-1] is IssueState.ISSUED and shop.placed == 2
