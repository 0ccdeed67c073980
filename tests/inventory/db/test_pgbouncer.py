"""PgBouncer in transaction pooling: statements, locks, migrations and whole commands through it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from inventory.clock import Clock
from inventory.db import locks
from inventory.db.database import Database, make_engine
from inventory.db.opening import open_database
from inventory.errors import Busy, DatabaseError
from inventory.store import clients
from tests.campaign import UNREACHED, wait_until
from tests.program import run
from tests.servers import pgbouncer


def through(port: int, url: str) -> str:
    """Return the URL of the same database at another port."""
    return f"postgresql://test@127.0.0.1:{port}/{url.rsplit('/', 1)[1]}"


@pytest.fixture
def pooled_url(postgres_port: int, new_postgres: Callable[[], str]) -> Iterator[str]:
    """A database of the current version behind PgBouncer; the migration went through it too."""
    with pgbouncer.running(postgres_port) as port:
        url = through(port, new_postgres())
        open_database(url, actor="tester", migrate=True).close()
        yield url


def test_same_statements_of_several_clients_share_the_servers_connections(
    pooled_url: str, clock: Clock
) -> None:
    """psycopg would prepare a statement after five uses, on one of the connections."""
    reader, writer = (open_database(pooled_url, actor="tester", clock=clock) for _ in range(2))
    pids = set()

    def write(number: str) -> None:
        with writer.write() as tx:
            clients.add(tx, {"number": number, "name": f"Client {number}"})
            pids.add(tx.conn.execute(text("SELECT pg_backend_pid()")).scalar())

    for number in range(15):
        # An open transaction keeps one connection of the server, so the next one is another.
        with reader.read() as held:
            held.execute(text("SELECT count(*) FROM client"))
            write(f"{number}-a")
        for repeat in range(number % 3):
            write(f"{number}-{repeat}")
    assert len(pids) > 1
    with reader.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM client")).scalar() == 30
    reader.close()
    writer.close()


def test_lock_is_held_and_released_while_other_clients_use_the_pool(
    pooled_url: str, clock: Clock
) -> None:
    database = open_database(pooled_url, actor="tester", clock=clock)
    other = open_database(pooled_url, actor="tester", clock=clock)
    for name in ("scan", "renew"):
        with locks.exclusive_lock(database, name):
            for number in range(8):
                with other.write() as tx:
                    tx.conn.execute(text("SELECT :n"), {"n": number})
            if name == "scan":
                with pytest.raises(Busy), locks.exclusive_lock(other, name):
                    raise AssertionError("two processes hold one lock")
            # Another job has a lock of its own.
            with locks.exclusive_lock(other, "notify"):
                pass
        with locks.exclusive_lock(other, name):
            pass
    database.close()
    other.close()


HOLDER = """
import sys
from inventory.db.opening import open_database
from inventory.db.locks import exclusive_lock
with exclusive_lock(open_database(sys.argv[1]), "scan"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock_of_a_killed_process_is_free(pooled_url: str, clock: Clock) -> None:
    command = [sys.executable, "-c", HOLDER, pooled_url]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    database = open_database(pooled_url, actor="tester", clock=clock)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait()

    def free() -> bool:
        try:
            with locks.exclusive_lock(database, "scan"):
                return True
        except Busy:
            return False

    wait_until(free, "the lock of a killed process")
    database.close()


# The commands of a day, each with the exit codes that it may have. Nothing listens at the
# endpoints, so that the scan opens findings.
DAY: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("database upgrade", (0,)),
    ("import LIST --internal-addresses", (0,)),
    ("contact add Staff --role administrator --method email:staff@provider.example", (0,)),
    ("scan", (1, 3)),
    ("status", (0, 1)),
    ("finding list", (0,)),
    ("notify", (0, 3)),
    ("notice list", (0,)),
    ("case open 1001 a.example.com", (0,)),
    ("case list", (0,)),
    ("renew --due", (0,)),
    ("report --all --output FOLDER", (0,)),
    ("compliance", (0, 1)),
    ("forecast", (0,)),
    ("dashboard --output FOLDER/page.html", (0,)),
    ("revocation --dry-run", (0,)),
    ("incident list", (0,)),
    ("metrics", (0,)),
    ("check", (0, 1, 2, 3)),
    ("export", (0,)),
    ("audit verify", (0,)),
    ("database check", (0,)),
    ("worker --drain", (0,)),
)


def test_commands_of_a_day_work_through_the_pool(
    pooled_url: str, tmp_path: Path, clock: Clock
) -> None:
    customers = tmp_path / "list.csv"
    customers.write_text(
        "client,client_name,contact,contact_role,email,domain,endpoint,addresses\n"
        + "".join(
            f"{client},Client {client},Ann,owner,ann@{name}.example.com,{name}.example.com,"
            f"{name}.example.com:1/https,127.0.0.1\n"
            for client, name in ((1001, "a"), (1001, "b"), (1002, "c"))
        )
    )
    config = tmp_path / "certmgr.toml"
    config.write_text(
        f"[scan]\ntimeout = {UNREACHED}\nprocesses = 2\nresolvers = ['127.0.0.1:1']\n"
        f'[http]\nenabled = false\n[database]\nurl = "{pooled_url}"\n'
        f'[network]\nallow = ["127.0.0.0/8"]\n[acme]\ndirectory = "{tmp_path}/acme"\n'
    )
    outputs = {}
    for command, codes in DAY:
        words = command.replace("LIST", str(customers)).replace("FOLDER", str(tmp_path / "out"))
        done = run(("--config", str(config), *words.split()), clock)
        assert done.code in codes, (command, done.code, done.out, done.err)
        outputs[command] = done.out
    assert "a.example.com" in outputs["status"] and "c.example.com" in outputs["finding list"]
    assert "a.example.com" in outputs["case list"] and "ann@a.example.com" in outputs["export"]


@pytest.mark.parametrize(
    ("mode", "pool", "reason"),
    [("transaction", 1, "raise default_pool_size"), ("statement", 5, "Set pool_mode")],
)
def test_pool_that_cannot_work_is_refused_with_what_to_change(
    postgres_port: int,
    new_postgres: Callable[[], str],
    clock: Clock,
    mode: str,
    pool: int,
    reason: str,
) -> None:
    with pgbouncer.running(postgres_port, mode=mode, pool=pool, wait_seconds=1) as port:
        pooled = Database(make_engine(through(port, new_postgres())), "tester", clock)
        with (
            pytest.raises(DatabaseError, match=reason),
            locks.exclusive_lock(pooled, "scan"),
            pooled.write() as tx,
        ):
            tx.conn.execute(text("SELECT 1"))
        pooled.close()


def test_session_pooling_works_as_well(postgres_port: int, new_postgres: Callable[[], str]) -> None:
    with pgbouncer.running(postgres_port, mode="session") as port:
        url = through(port, new_postgres())
        database = open_database(url, actor="tester", migrate=True)
        with locks.exclusive_lock(database, "scan"), database.write() as tx:
            clients.add(tx, {"number": "1001", "name": "Rosen GmbH"})
        with database.read() as conn:
            assert clients.find(conn, "1001").name == "Rosen GmbH"
        database.close()
