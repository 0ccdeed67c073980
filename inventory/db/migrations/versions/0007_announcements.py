"""The default template of announcements was called ``bulletin``: rename it where it is stored.

Tickets, sent items and decisions of an announcement contain the name, so that no client gets the
same announcement twice.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OLD_KEY, _NEW_KEY = "broadcast:bulletin:", "broadcast:announcement:"
_KEYS = (("matter", "key"), ("notice_item", "subject"), ("decision", "subject"))
_CAUSES = (("matter", "cause"), ("release", "cause"))


def upgrade() -> None:
    op.execute("UPDATE broadcast SET template = 'announcement' WHERE template = 'bulletin'")
    for table, column in _KEYS:
        op.execute(
            f'UPDATE {table} SET "{column}" ='  # noqa: S608 - fixed names
            f" '{_NEW_KEY}' || substr(\"{column}\", {len(_OLD_KEY) + 1})"
            f" WHERE \"{column}\" LIKE '{_OLD_KEY}%'"
        )
    for table, column in _CAUSES:
        op.execute(
            f"UPDATE {table} SET {column} ="  # noqa: S608 - fixed names
            f" substr({column}, 1, length({column}) - length('bulletin')) || 'announcement'"
            f" WHERE {column} LIKE 'broadcast % bulletin'"
        )
