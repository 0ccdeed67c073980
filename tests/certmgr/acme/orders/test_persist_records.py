"""Orders by dns-persist-01 at a CA in this process, with records in BIND."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from certmgr.acme.challenges import build
from certmgr.acme.orders import persist_records
from certmgr.config.acme import SolverSettings
from certmgr.config.settings import Settings
from certmgr.net.dns import DnsClient
from inventory.clock import Clock
from inventory.db.database import Database
from tests.certmgr.acme import inprocess
from tests.certmgr.acme.shop import AcmeEnvironment, leaf, make_environment, names
from tests.servers.bind import Named

OWNER = "_validation-persist.shop.test"
NAMES = ["shop.test", "*.shop.test"]


@pytest.fixture
def authority(tmp_path: Path, clock: Clock, bind: Named, opened: ExitStack) -> inprocess.Ca:
    made = inprocess.Ca(clock, timedelta(days=90), resolver=bind.server)
    return opened.enter_context(inprocess.running(made, tmp_path / "ca"))


@pytest.fixture
def persist_env(
    database: Database,
    settings: Settings,
    tmp_path: Path,
    authority: inprocess.Ca,
    bind: Named,
    monkeypatch: pytest.MonkeyPatch,
) -> AcmeEnvironment:
    """An environment that asks BIND itself: a resolver would keep an answer for up to a second."""
    # The name server of the zone does not listen on port 53.
    for module in (build, persist_records):
        monkeypatch.setattr(module, "new_dns_client", partial(DnsClient.of, port=bind.port))
    made = make_environment(
        database, settings, tmp_path, authority.directory, authority.ca_file, dns=bind.server
    )
    made.solve(persist=SolverSettings(kind="persist"))
    made.client("1001", "shop.test")
    made.register()
    return made


def publish(bind: Named, *values: str) -> None:
    bind.delete(OWNER, "TXT")
    for value in values:
        bind.add(OWNER, "TXT", f'"{value}"')


def test_record_is_required_used_and_watched(
    persist_env: AcmeEnvironment, authority: inprocess.Ca, bind: Named
) -> None:
    env = persist_env
    lineage = env.lineage("1001", NAMES, solver="persist")
    record = persist_records.records_of(env.context.session(1), NAMES)[0]
    publish(bind)
    # Without the record nothing is validated, and the message has the record to add.
    done = env.order(lineage)
    assert done.state == "failed" and record.zone_line in done.message, done
    assert authority.validated == []
    publish(bind, "ca.example; accounturi=https://elsewhere.test/1", "v=spf1 -all")
    assert "another account" in env.order(lineage).message
    publish(bind, record.value.replace("; policy=wildcard", ""))
    assert "policy=wildcard" in env.order(lineage).message
    assert authority.validated == []
    publish(bind, record.value)
    done = env.order(lineage)
    assert done.state == "issued", done
    assert authority.validated == [("shop.test", True)] * 2
    assert names(leaf(env, lineage)) == set(NAMES)
    assert bind.txt(OWNER) == [record.value], "the record stays"
    # It is watched until the next renewal.
    assert list(persist_records.watch(env.context)) == []
    now = int(env.context.now().timestamp())
    for values, fails, text in (
        ([], True, "there is no record"),
        (["ca.example; accounturi=https://elsewhere.test/1"], True, "another account"),
        ([f"{record.value}; persistUntil={now - 1}"], True, "ended at"),
        ([f"{record.value}; persistUntil={now + 86_400}"], False, "ends at"),
    ):
        publish(bind, *values)
        (found,) = persist_records.watch(env.context)
        assert found[0] == "shop.test" and text in found[1] and found[2] is fails
    publish(bind)
