"""A property: what a client reads contains nothing that is only another client's."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from inventory.models import Domain, Endpoint, StoredFinding
from inventory.store import clients, contacts, domains
from tests.campaign import size
from tests.clock import START
from tests.databases import open_sqlite
from tests.program import run

_LABEL = st.sampled_from(["shop", "www", "mail", "a", "b", "deep.shop"])
_SHARED = st.sampled_from(["platform.test", "hoster.example", "co-op.test"])
_CODES = st.sampled_from(["name-mismatch", "default-certificate", "certificate-expired"])


@st.composite
def _site(draw: st.DrawFn, owner: str) -> str:
    """A name of a client, whose own label is in it, alone or below a shared registered domain."""
    label, shared = draw(_LABEL), draw(st.one_of(st.none(), _SHARED))
    return f"{label}.{owner}.{shared}" if shared else f"{label}.{owner}.test"


@given(data=st.data())
@settings(max_examples=size(6, 500), deadline=None)
def test_output_for_one_client_names_nothing_of_the_other(data: st.DataObject) -> None:
    names = {
        number: data.draw(st.lists(_site(owner=f"only{number}x"), min_size=1, unique=True))
        for number in ("1", "2")
    }
    everything = [n for found in names.values() for n in found]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.db"
        database = open_sqlite(path)
        with database.write(START) as tx:
            for number, found in names.items():
                clients.add(tx, {"number": number, "name": f"only{number}x name"})
                who = {"name": f"only{number}x contact", "role": "owner"}
                contacts.add(tx, number, who, (f"email:only{number}x@mail.test",))
                for name in found:
                    domains.add(tx, name, {"client": number})
            for key, _ in tx.conn.execute(
                select(Endpoint.id, Domain.name).join(Domain, Domain.id == Endpoint.domain_id)
            ).all():
                tx.conn.execute(
                    insert(StoredFinding).values(
                        endpoint_id=key,
                        code=data.draw(_CODES),
                        severity="critical",
                        actor="client",
                        addresses=["192.0.2.1"],
                        evidence={"names": everything, "more": 0, "not_after": 1},
                        opened_at=tx.at,
                    )
                )
        database.close()
        for number, other in (("1", "2"), ("2", "1")):
            for call in (
                ("report", "--client", number, "--format", "json"),
                ("report", "--client", number, "--format", "html"),
                ("report", "--client", number, "--format", "csv"),
                ("calendar", "--client", number),
                ("purchase", "export", "--client", number),
            ):
                done = run(("--database", str(path), *call), lambda: START)
                assert done.code == 0, done.err
                assert f"only{other}x" not in done.out, call
