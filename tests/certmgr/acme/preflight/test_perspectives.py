"""What a CA with several network perspectives decides, predicted from the zones."""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from certmgr.acme.preflight.http_probe import ProbeResult
from certmgr.acme.preflight.perspectives import (
    Perspective,
    allowed_failures,
    perspective_of,
    predict,
    required_remote,
    with_prediction,
)
from certmgr.acme.preflight.preflight import Category, PreflightFacts, advise
from certmgr.acme.preflight.preflight_run import PreflightRequest, preflight
from certmgr.checks.caa import Permission
from certmgr.config.acme import AcmeSettings, SolverSettings
from certmgr.config.context import Context
from certmgr.config.settings import NetworkSettings, Settings
from certmgr.config.zone_settings import ZoneSettings
from certmgr.demo.authority import Authority
from inventory.db.database import Database
from tests.campaign import size
from tests.certmgr.net.server import Records, serving
from tests.clock import clock
from tests.servers.real import web, write_pair

TODAY = date(2026, 12, 20)
RIGHT, WRONG, SIX = "192.0.2.1", "198.51.100.9", "2001:db8::1"
KINDS = ("none", "split-dns", "geo-block", "slow-aaaa", "broken-aaaa", "caa", "bogus-dnssec")


@pytest.mark.parametrize(
    ("day", "count"),
    [
        (date(2025, 3, 14), 0),
        (date(2025, 3, 15), 2),
        (date(2026, 3, 15), 3),
        (date(2026, 6, 14), 3),
        (date(2026, 6, 15), 4),
        (date(2026, 12, 14), 4),
        (date(2026, 12, 15), 5),
    ],
)
def test_number_of_remote_perspectives_follows_its_dates(day: date, count: int) -> None:
    assert required_remote(day) == count


@pytest.mark.parametrize(("remote", "allowed"), [(1, 0), (2, 1), (5, 1), (6, 2), (12, 2)])
def test_quorum_is_that_of_the_baseline_requirements(remote: int, allowed: int) -> None:
    assert allowed_failures(remote) == allowed


@dataclass(frozen=True)
class Place:
    """What the world shows to one perspective: the truth, from which a CA decides."""

    a: str = RIGHT
    aaaa: str = ""
    aaaa_answers: str = "ok"  # ok, silent, wrong
    blocked: bool = False
    caa_permits: bool = True
    bogus: bool = False


def ca_accepts(places: list[Place]) -> bool:
    """Decide as a CA does: the primary perspective, and a quorum of the others.

    Written from BR 3.2.2.9 and what public CAs document, and not from the code under test.
    """
    votes = []
    for place in places:
        vote = place.caa_permits and not place.bogus and not place.blocked and place.a == RIGHT
        if place.aaaa and not place.blocked:
            # IPv6 first. A CA falls back to IPv4 only if there is no connection.
            if place.aaaa_answers == "wrong":
                vote = False
            elif place.aaaa_answers == "ok":
                vote = place.caa_permits and not place.bogus
        votes.append(vote)
    against = votes[1:].count(False)
    return votes[0] and against <= (2 if len(votes) - 1 >= 6 else 1)


def facts_of(place: Place) -> PreflightFacts:
    """Return what certmgr sees from a perspective."""
    if place.bogus:
        return PreflightFacts("a.test", "http-01", "servfail", reason="SERVFAIL")
    probes = []
    state = "failed" if place.blocked else "ok" if place.a == RIGHT else "other"
    probes.append(ProbeResult(place.a, state, "" if state == "ok" else "HTTP 404"))
    if place.aaaa:
        answers = {"ok": "ok", "silent": "failed", "wrong": "other"}[place.aaaa_answers]
        state = "failed" if place.blocked else answers
        probes.append(ProbeResult(place.aaaa, state, "" if state == "ok" else "timed out"))
    permission = Permission(place.caa_permits, "" if place.caa_permits else "only other.example")
    return PreflightFacts(
        name="a.test",
        challenge="http-01",
        dns="ok",
        addresses=tuple(p.address for p in probes),
        probes=tuple(probes),
        caa=permission,
        caa_wanted='a.test. IN CAA 0 issue "ca.example"',
    )


def places(seed: int, count: int = 0) -> tuple[str, list[Place]]:
    """Return the kind of a case, and its primary and 5 to 8 remote perspectives.

    Args:
        seed: The case.
        count: The number of perspectives; 0: one that follows from the seed.
    """
    order = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    count = count or order.randint(6, 9)
    affected = set(order.sample(range(count), order.randint(1, 4)))
    by_kind: dict[str, dict[str, Any]] = {
        "none": {},
        "split-dns": {"a": WRONG},
        "geo-block": {"blocked": True},
        "slow-aaaa": {"aaaa": SIX, "aaaa_answers": "silent"},
        "broken-aaaa": {"aaaa": SIX, "aaaa_answers": "wrong"},
        "caa": {"caa_permits": False},
        "bogus-dnssec": {"bogus": True},
    }
    changed = by_kind[kind]
    six: dict[str, Any] = (
        {"aaaa": SIX} if order.random() < 0.3 and kind not in ("slow-aaaa", "split-dns") else {}
    )
    return kind, [
        Place(**{**six, **changed}) if i in affected else Place(**six) for i in range(count)
    ]


@pytest.mark.parametrize("seed", range(140))
def test_prediction_equals_the_decision_of_a_ca(seed: int) -> None:
    kind, world = places(seed)
    seen = [facts_of(p) for p in world]
    advices = [advise(f) for f in seen]
    perspectives = [
        perspective_of(f"z{i}", f, a, seen[0])
        for i, (f, a) in enumerate(zip(seen, advices, strict=True))
    ]
    found = predict(perspectives, TODAY)
    assert found.passes is ca_accepts(world), (kind, world)
    shown = with_prediction(advices[0], found)
    if found.passes is False and advices[0].category is Category.AUTOMATE:
        assert shown.category in (Category.RECORD, Category.NOT_NOW)
        assert "a CA would refuse it" in shown.reason
        line = {"caa": 'IN CAA 0 issue "ca.example"', "split-dns": f"a.test. IN A {RIGHT}"}
        assert line.get(kind, "") in shown.record


def test_cases_contain_both_decisions_of_each_kind() -> None:
    decided: dict[str, set[bool]] = {}
    for seed in range(140):
        kind, world = places(seed)
        decided.setdefault(kind, set()).add(ca_accepts(world))
    both = {True, False}
    assert decided == dict.fromkeys(KINDS, both) | {"none": {True}, "slow-aaaa": {True}}


def test_few_zones_do_not_prove_that_a_ca_refuses() -> None:
    good, bad = Perspective("fra1", True), Perspective("syd1", False, "timed out")
    assert predict([good, good, good], TODAY).passes is True
    found = predict([good, good, bad], TODAY)
    assert (found.passes, found.remote, found.required) == (None, 2, 5)
    advice = replace(advise(facts_of(Place())), category=Category.AUTOMATE)
    shown = with_prediction(advice, found)
    assert shown.category is Category.UNKNOWN
    assert "at least 5 remote perspectives" in shown.reason
    assert "not from syd1: timed out" in shown.reason


def test_undetermined_perspective_leaves_the_prediction_open_only_if_it_decides() -> None:
    good, unknown = Perspective("a", True), Perspective("b", None)
    bad = Perspective("c", False, "x")
    assert predict([good] * 5 + [unknown], TODAY).passes is True
    assert predict([unknown] + [good] * 5, TODAY).passes is None
    assert predict([good] * 4 + [bad, unknown], TODAY).passes is None
    assert predict([good] * 4 + [bad, bad], TODAY).passes is False


BLOCK = (
    'set $b ""; if ($remote_addr = 127.0.77.2) { set $b A; }'
    ' if ($host = geo.test) { set $b "${b}B"; } if ($b = AB) { return 403; }'
)


def test_preflight_sees_a_name_from_each_zone_of_this_machine(
    sqlite_database: Database, settings: Settings, tmp_path: Path, issuer: Authority
) -> None:
    """Two resolvers, two local addresses, and a server that blocks one of them."""
    names = ("good.test", "split.test", "geo.test", "caa.test", "bogus.test")
    home: Records = {(n, "A"): ["127.0.0.1"] for n in names}
    away: Records = {
        **home,
        ("split.test", "A"): ["127.0.0.9"],
        ("caa.test", "CAA"): ['0 issue "other.example"'],
        ("bogus.test", "A"): "SERVFAIL",
    }
    with ExitStack() as stack:
        plain, _ = stack.enter_context(
            web(tmp_path, write_pair(tmp_path, issuer.issue("good.test")), BLOCK, "")
        )
        here, there = (stack.enter_context(serving(r)).address for r in (home, away))
        solver = SolverSettings(kind="webroot", path=str(tmp_path), http_port=plain)
        abroad = ZoneSettings(resolvers=(there,), sources=("127.0.77.2",))
        changed = replace(
            settings,
            acme=AcmeSettings(
                directory=str(tmp_path), solvers={"web": solver}, default_solver="web"
            ),
            network=NetworkSettings(allow=("127.0.0.0/8",)),
            scan=replace(settings.scan, resolvers=(here,), timeout=3.0),
            zones={f"r{i}": abroad if i < 2 else ZoneSettings() for i in range(5)},
        )
        context = Context(sqlite_database, changed, clock)
        found = {a.name: a for a, _ in preflight(context, PreflightRequest(names))}
    assert found["good.test"].category is Category.AUTOMATE, found["good.test"]
    assert {n: a.category for n, a in found.items() if n != "good.test"} == {
        "split.test": Category.RECORD,
        "geo.test": Category.NOT_NOW,
        "caa.test": Category.RECORD,
        "bogus.test": Category.NOT_NOW,
    }
    assert found["split.test"].record == "split.test. IN A 127.0.0.1"
    assert "IN CAA 0 issue" in found["caa.test"].record
    assert all("not from r0" in a.reason for n, a in found.items() if n != "good.test")
    assert "HTTP 403" in found["geo.test"].reason
    assert "compare the DS record" in found["bogus.test"].reason


@dataclass(slots=True)
class World:
    """What name servers and a web server on loopback show to each perspective.

    Attributes:
        records: The records of each perspective's name server.
        wrong: "server address, host" for which the web server has another answer.
        blocked: "client address, host" to which it does not answer.
    """

    records: list[dict[tuple[str, str], list[str] | str]]
    wrong: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)

    def add(self, name: str, seen: list[Place]) -> None:
        """Let each perspective see a name as its place describes it."""
        for number, place in enumerate(seen):
            records = self.records[number]
            records[name, "A"] = ["127.0.0.1" if place.a == RIGHT else "127.0.0.9"]
            if place.aaaa:
                records[name, "AAAA"] = ["::1"]
            if place.aaaa_answers == "wrong":
                self.wrong.add(f"::1 {name}")
            if place.blocked:
                self.blocked.add(f"{source(number)} {name}")
            if not place.caa_permits:
                records[name, "CAA"] = ['0 issue "other.example"']
            if place.bogus:
                records[name, "A"] = records[name, "AAAA"] = records[name, "CAA"] = "SERVFAIL"

    def maps(self) -> str:
        """Return the configuration of nginx that holds the deviations."""
        wrong = "".join(f'"{key}" 1; ' for key in sorted(self.wrong))
        blocked = "".join(f'"{key}" 1; ' for key in sorted(self.blocked))
        return (
            "map_hash_bucket_size 128; map_hash_max_size 8192;\n"
            f'map "$server_addr $host" $wrong {{ default 0; {wrong}}}\n'
            f'map "$remote_addr $host" $blocked {{ default 0; {blocked}}}\n'
        )


def source(number: int) -> str:
    """Return the address from which a perspective connects."""
    return f"127.0.78.{number + 1}"


@pytest.mark.campaign
@pytest.mark.parametrize("count", [6, 9])
@pytest.mark.parametrize("over_ipv6", [True, False])
def test_preflight_from_all_zones_decides_as_a_ca(
    sqlite_database: Database,
    settings: Settings,
    tmp_path: Path,
    issuer: Authority,
    count: int,
    over_ipv6: bool,
) -> None:
    """Each case is real: a name server per perspective, and a site that knows who asks.

    Of IPv6 there is one loopback address, so that a geo block is one of IPv4. An AAAA record that
    leads nowhere is the same address without a listening server.
    """
    world, cases = World([{} for _ in range(count)]), {}
    for seed in range(size(14, 140)):
        kind, seen = places(seed, count)
        if (kind == "slow-aaaa") is over_ipv6:
            continue
        if kind in ("geo-block", "broken-aaaa"):
            seen = [p if p.aaaa_answers == "wrong" else replace(p, aaaa="") for p in seen]
        cases[f"s{seed}.test"] = kind, seen
        world.add(f"s{seed}.test", seen)
    plain = "if ($wrong) { return 404; } if ($blocked) { return 444; }"
    if over_ipv6:
        plain += " listen [::1]:HTTP_PORT;"
    with ExitStack() as stack:
        pair = write_pair(tmp_path, issuer.issue("good.test"))
        port, _ = stack.enter_context(web(tmp_path, pair, plain, "", http=world.maps()))
        servers = [stack.enter_context(serving(r)).address for r in world.records]
        solver = SolverSettings(kind="webroot", path=str(tmp_path), http_port=port)
        changed = replace(
            settings,
            acme=AcmeSettings(
                directory=str(tmp_path), solvers={"web": solver}, default_solver="web"
            ),
            network=NetworkSettings(allow=("127.0.0.0/8", "::1/128")),
            scan=replace(settings.scan, resolvers=(servers[0],), sources=(source(0),)),
            zones={
                f"z{n}": ZoneSettings(resolvers=(servers[n],), sources=(source(n),))
                for n in range(1, count)
            },
        )
        context = Context(sqlite_database, changed, clock)
        found = {a.name: a for a, _ in preflight(context, PreflightRequest(tuple(cases)))}
    for name, (kind, seen) in cases.items():
        advice, accepted = found[name], ca_accepts(seen)
        assert (advice.category is Category.AUTOMATE) is accepted, (name, kind, seen, advice)
        first = [seen[0]] * len(seen)
        if accepted or not ca_accepts(first):
            continue  # what the first perspective sees is advised on as without zones
        assert "a CA would refuse it" in advice.reason, (name, kind, advice)
        line = {"caa": "IN CAA 0 issue", "split-dns": f"{name}. IN A 127.0.0.1"}
        assert line.get(kind, "") in advice.record
