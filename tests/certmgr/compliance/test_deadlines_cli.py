"""``certmgr deadline``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from certmgr.compliance.milestones import milestones
from tests.program import Ran

Run = Callable[..., Ran]


def test_deadline_is_added_listed_edited_and_retired(certmgr: Run) -> None:
    assert certmgr("client", "add", "1001", "Shop").code == 0
    done = certmgr(
        "deadline",
        "add",
        "all-https",
        "--date",
        "2027-06-30",
        "--title",
        "All sites on HTTPS",
        "--text",
        "Buy in time",
        "--client",
        "1001",
        "--purchase-days",
        "20",
    )
    assert done.code == 0, done.err
    listed = certmgr("deadline", "list", "--own", "--format", "json").json["deadlines"]
    assert listed[0]["date"] == "2027-06-30T23:59:59Z"
    assert (
        listed[0]["purchase"],
        listed[0]["validation"],
        listed[0]["rule"],
        listed[0]["for"],
    ) == (
        20,
        7,
        "https-only",
        ["1001"],
    )
    assert (
        certmgr("deadline", "edit", "all-https", "--date", "2027-07-31", "--tag", "gold").code == 0
    )
    assert certmgr("deadline", "list", "--own", "--format", "json").json["deadlines"][0]["for"] == [
        "1001",
        "tag gold",
    ]
    assert certmgr("deadline", "edit", "all-https", "--client", "").code == 0
    assert certmgr("deadline", "list", "--own", "--format", "json").json["deadlines"][0]["for"] == [
        "tag gold"
    ]
    assert certmgr("deadline", "retire", "all-https").code == 0
    assert "There are no deadlines." in certmgr("deadline", "list", "--own").out
    everything = certmgr("deadline", "list", "--format", "json").json["deadlines"]
    assert {d["name"] for d in everything} >= {m.name for m in milestones()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "x"), "--date is missing"),
        (("add", "x", "--date", "30.06.2027"), "is not a date"),
        (("add", "x", "--date", "2027-06-30", "--rule", "https"), "known are"),
        (("add", "x", "--date", "2027-06-30", "--client", "4711"), "no client"),
        (("add", "chrome-68", "--date", "2027-06-30"), "ships with certmgr"),
        (("add", " ", "--date", "2027-06-30"), "name is empty"),
        (("edit", "missing", "--date", "2027-06-30"), "no deadline"),
        (("retire", "missing"), "no deadline"),
    ],
)
def test_invalid_deadline_prints_one_line(
    certmgr: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = certmgr("deadline", *arguments)
    assert done.code in (2, 3)
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
