"""Check of what a database contains."""

from __future__ import annotations

from inventory.db import integrity
from inventory.db.database import Database


def test_part_of_a_table_that_certmgr_does_not_create_is_a_problem(database: Database) -> None:
    assert integrity.check(database) == []
    with database.write() as tx:
        if tx.conn.dialect.name == "postgresql":
            tx.conn.exec_driver_sql(
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
            )
            tx.conn.exec_driver_sql(
                "CREATE TRIGGER t BEFORE INSERT ON client FOR EACH ROW EXECUTE FUNCTION f()"
            )
            tx.conn.exec_driver_sql("CREATE RULE r AS ON DELETE TO client DO INSTEAD NOTHING")
            tx.conn.exec_driver_sql("ALTER TABLE client ADD CONSTRAINT c CHECK (note IS NULL)")
        else:
            tx.conn.exec_driver_sql("CREATE TRIGGER t AFTER INSERT ON client BEGIN SELECT 1; END")
    problems = " ".join(integrity.check(database))
    assert "trigger 't'" in problems
    for part in ("rule 'r'", "constraint 'c'"):
        assert (part in problems) == (database.engine.dialect.name == "postgresql")
