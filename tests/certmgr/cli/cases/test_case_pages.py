"""Cases on the pages of the command line: which ones are shown, and in which time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import update

from inventory.models import Case
from inventory.store import case_changes, clients
from inventory.store.case_changes import NewCase
from inventory.vocabulary import CaseKind, Party
from tests.clock import clock
from tests.databases import open_sqlite
from tests.program import Ran

Runner = Callable[..., Ran]
HOST = "shop.one.test"


def _cases(certmgr: Runner, folder: Path, *found: tuple[str, int | None, int | None]) -> list[str]:
    """Open a case for each (state, due, closed), in epoch seconds. Return their references."""
    assert certmgr("client", "add", "1", "One").code == 0
    assert certmgr("domain", "add", HOST, "--client", "1").code == 0
    database = open_sqlite(folder / "cli.db", clock=clock)
    references = []
    with database.write() as tx:
        client_id = clients.find(tx.conn, "1").id
        for state, due, closed in found:
            case = NewCase(
                client_id=client_id, kind=CaseKind.RENEWAL, bought_by=Party.CLIENT, due_at=due
            )
            row = case_changes.open_case(tx, case, [HOST], "opened")
            changed = update(Case).where(Case.id == row.id)
            tx.conn.execute(changed.values(state=state, closed_at=closed))
            references.append(row.reference)
    database.close()
    return references


def test_domain_page_shows_open_cases_first_and_then_the_newest_closed_ones(
    certmgr: Runner, tmp_path: Path
) -> None:
    now = int(clock().timestamp())
    closed = [("closed", None, now - 100 * age) for age in (9, 1, 8, 2, 7, 3)]
    # The listing puts cases without a due date last, which hid the cases with one.
    found = [("requested", now + 900, None), *closed, ("requested", now + 300, None)]
    references = _cases(certmgr, tmp_path, *found)
    page = certmgr("domain", "show", HOST, "--format", "json").json
    expected = [references[i] for i in (7, 0, 2, 4, 6)]
    assert [c["reference"] for c in page["cases"]] == expected
    # Without a due date, an open case still comes before the closed ones.
    database = open_sqlite(tmp_path / "cli.db", clock=clock)
    with database.write() as tx:
        tx.conn.execute(update(Case).where(Case.closed_at.is_(None)).values(due_at=None))
    database.close()
    page = certmgr("domain", "show", HOST, "--format", "json").json
    assert {c["reference"] for c in page["cases"][:2]} == {references[0], references[7]}


def test_case_pages_state_dates_in_the_zone_of_the_provider(
    certmgr: Runner, tmp_path: Path
) -> None:
    with (tmp_path / "certmgr.toml").open("a") as file:
        file.write('[provider]\ntime_zone = "Pacific/Auckland"\n')
    # At 20:00 in UTC, it is the morning of the next day in Auckland.
    clock.advance(seconds=10 * 3600)
    due = int(datetime(2026, 12, 3, 20, tzinfo=UTC).timestamp())
    (reference,) = _cases(certmgr, tmp_path, ("waiting-purchase", due, None))
    listed = certmgr("case", "list").out
    assert "2026-12-04" in listed
    assert "2026-12-03" not in listed
    shown = certmgr("case", "show", reference).out
    assert "2026-12-04" in shown
    reminds = datetime.fromisoformat(
        certmgr("case", "show", reference, "--format", "json").json["reminds"]
    )
    local = reminds.astimezone(ZoneInfo("Pacific/Auckland")).date()
    assert local != reminds.date()
    assert f"next reminder to the client: {local}\n" in shown
    assert "escalates to" in shown
    assert "NZDT" in shown.split("History")[1]
    # A time in UTC has a "T" between date and time, and a "Z" at its end.
    assert "00Z" not in shown
    # Programs read times in UTC.
    (row,) = certmgr("case", "list", "--format", "json").json["cases"]
    assert row["due"] == "2026-12-03T20:00:00Z"
