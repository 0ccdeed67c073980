"""Problem documents of a CA."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from certmgr.acme.protocol.problems import (
    PREFIX,
    AcmeProblem,
    NextAction,
    from_json,
    parse,
    retry_after,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    assert retry_after("120", NOW) == 120
    assert retry_after("Wed, 25 Nov 2026 12:02:00 GMT", NOW) == 120
    assert retry_after("Wed, 25 Nov 2026 11:00:00 GMT", NOW) == 0
    assert retry_after("Wed, 25 Nov 2026 14:02:00 +0200", NOW) == 120
    assert retry_after("9" * 50, NOW) == 7 * 86_400
    # Some servers send a fraction of a second, and two proxies send two values.
    assert retry_after("12.5", NOW) == 12 and retry_after("60, 120", NOW) == 60
    for bad in (None, "", "soon", "-5", "12.", "Wed, 99 Nov 2026"):
        assert retry_after(bad, NOW) is None, bad


def test_subproblems_stand_in_the_sentence_without_control_characters() -> None:
    document = {
        "type": "urn:ietf:params:acme:error:compound",
        "detail": "Some names \x1b[31mfailed",
        "subproblems": [
            {
                "type": "urn:ietf:params:acme:error:caa",
                "detail": "CAA forbids",
                "identifier": {"type": "dns", "value": "a.test"},
            },
            {
                "type": "urn:ietf:params:acme:error:dns",
                "detail": "$(reboot) `id`",
                "identifier": {"type": "dns", "value": "b.test"},
            },
        ],
    }
    found = parse(document, 403)
    assert "\x1b" not in found.sentence
    assert (
        "a.test: CAA records forbid the CA to issue: CAA forbids" in found.sentence
        and "b.test" in found.sentence
    )
    assert set(found.names()) == {"a.test", "b.test"}
    again = from_json(found.to_json())
    assert again is not None and again.sentence == found.sentence


def test_any_document_becomes_a_problem() -> None:
    document: Any
    for document in (
        None,
        5,
        [],
        "x",
        {"type": 5, "detail": [], "subproblems": "x"},
        {"subproblems": [None, 5]},
        {"identifier": "x"},
    ):
        assert isinstance(parse(document, 500).sentence, str)
    deep: Any = {}
    for _ in range(100):
        deep = {"subproblems": [deep] * 2}
    assert len(parse(deep, 400).sentence) < 10_000


@pytest.mark.parametrize(
    ("problem", "next_action"),
    [
        (AcmeProblem("badNonce"), NextAction.RETRY),
        (AcmeProblem("rateLimited", status=429), NextAction.BACK_OFF),
        (AcmeProblem("", status=503), NextAction.BACK_OFF),
        (AcmeProblem("alreadyReplaced", status=409), NextAction.WITHOUT_REPLACES),
        (AcmeProblem("malformed", "cannot replace that certificate"), NextAction.WITHOUT_REPLACES),
        (AcmeProblem("accountDoesNotExist"), NextAction.ACCOUNT),
        (AcmeProblem("userActionRequired"), NextAction.TERMS),
        (AcmeProblem("caa"), NextAction.NAMES),
        (AcmeProblem("badCSR"), NextAction.STAFF),
    ],
)
def test_type_of_a_problem_decides_the_next_action(
    problem: AcmeProblem, next_action: NextAction
) -> None:
    assert problem.next_action is next_action


def test_paused_account_is_recognised() -> None:
    assert AcmeProblem(
        "rateLimited",
        "Your account is temporarily prevented from requesting certificates for a.test and possibly"
        " others. Please visit: https://unpause",
    ).paused
    assert not AcmeProblem("rateLimited", "too many new orders").paused


@pytest.mark.parametrize(
    ("detail", "action"),
    [
        ('Account is not valid, has status "deactivated"', NextAction.ACCOUNT),
        ("The account has been deactivated", NextAction.ACCOUNT),
        ("Invalid response from http://shop.test/.well-known/x: 404", NextAction.NAMES),
        ("", NextAction.NAMES),
    ],
)
def test_refused_account_is_told_apart_from_a_failed_validation(
    detail: str, action: NextAction
) -> None:
    problem = parse({"type": f"{PREFIX}unauthorized", "detail": detail}, 403)
    assert problem.next_action is action
    assert ("this account" in problem.sentence) is (action is NextAction.ACCOUNT)


def test_type_of_an_early_draft_is_known() -> None:
    problem = parse({"type": "urn:acme:error:rateLimited", "detail": "x"}, 403)
    assert problem.rate_limited and problem.next_action is NextAction.BACK_OFF
