"""The proof: pure decisions, then real servers with one and two key types, several addresses, and backends of a balancer."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certmgr.cases.look import Place as Where
from certmgr.cases.look import look, places
from certmgr.cases.proof import Proven, Sight, prove
from certmgr.config import Settings
from certmgr.demo.authority import Authority, Issued
from inventory.certificates import parse
from inventory.targets import Target
from tests.servers.ports import free_port
from tests.servers.real import nginx, write_pair

NEW, OLD, OTHER, RSA_NEW = "a" * 64, "b" * 64, "c" * 64, "d" * 64


def sight(sha: str | None, address: str = "192.0.2.1", key: str = "EC", **given: Any) -> Sight:
    return Sight("shop.example.com", 443, address, key, sha, **given)


NONE = sight(None, key="RSA")
CASES: list[tuple[str, dict[str, str], list[Sight], Proven, int, int, int]] = [
    ("seen", {"EC": NEW}, [sight(NEW), NONE], Proven.LIVE, 1, 0, 0),
    ("nothing was looked at", {"EC": NEW}, [], Proven.UNKNOWN, 0, 0, 0),
    ("the old one", {"EC": NEW}, [sight(OLD), NONE], Proven.ABSENT, 0, 1, 0),
    ("one of two addresses", {"EC": NEW}, [sight(NEW), NONE, sight(OLD, "192.0.2.2"), sight(None, "192.0.2.2", "RSA")], Proven.PARTIAL, 1, 1, 0),
    ("the old RSA certificate beside the new one", {"EC": NEW}, [sight(NEW), sight(OLD, key="RSA")], Proven.ABSENT, 0, 1, 0),
    ("one address is silent", {"EC": NEW}, [sight(NEW), NONE, sight(None, "192.0.2.2", error="timed out"), sight(None, "192.0.2.2", "RSA", error="timed out")], Proven.UNKNOWN, 1, 0, 1),
    ("a missing place is certain, whatever is silent", {"EC": NEW}, [sight(OLD), sight(None, "192.0.2.2", error="timed out")], Proven.ABSENT, 0, 1, 1),
    ("none of that kind", {"EC": NEW}, [sight(None), sight(None, key="RSA")], Proven.ABSENT, 0, 1, 0),
    ("a server that hangs up where it has no such certificate", {"EC": NEW}, [sight(NEW), sight(None, key="RSA", error="reset", hung=True)], Proven.LIVE, 1, 0, 0),
    ("and one that is silent there", {"EC": NEW}, [sight(NEW), sight(None, key="RSA", error="timed out")], Proven.UNKNOWN, 0, 0, 1),
    ("both kinds", {"EC": NEW, "RSA": RSA_NEW}, [sight(NEW), sight(RSA_NEW, key="RSA")], Proven.LIVE, 1, 0, 0),
    ("one kind was forgotten", {"EC": NEW, "RSA": RSA_NEW}, [sight(NEW), NONE], Proven.ABSENT, 0, 1, 0),
    ("a backend that was forgotten", {"EC": NEW}, [sight(NEW), NONE, sight(OLD, "10.0.0.2", backend="lb1")], Proven.PARTIAL, 1, 1, 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected", "sights", "state", "seen", "missing", "unknown"), CASES, ids=[c[0] for c in CASES])
def test_what_is_proved(
    name: str, expected: dict[str, str], sights: list[Sight], state: Proven, seen: int, missing: int, unknown: int
) -> None:
    proof = prove(expected, sights, [OLD])
    assert (proof.state, len(proof.seen), len(proof.missing), len(proof.unknown)) == (state, seen, missing, unknown)
    assert proof.sentence


def test_the_old_one_is_told_apart_from_any_other() -> None:
    proof = prove({"EC": NEW}, [sight(OLD), sight(OTHER, "192.0.2.2")], [OLD])
    assert len(proof.missing) == 2
    assert proof.old == ("shop.example.com:443 at 192.0.2.1",)


def test_a_wildcard_is_looked_at_where_the_client_has_endpoints() -> None:
    endpoints = [
        {"host": h, "port": p, "protocol": protocol, "addresses": None, "server": "lb", "backends": b, "domain": h}
        for h, p, protocol, b in (("a.shop.example.com", 443, "https", "10.0.0.1 10.0.0.2:8443"), ("mail.shop.example.com", 25, "smtp", ""), ("other.example.com", 443, "https", ""))
    ]  # fmt: skip
    found = places(["*.shop.example.com", "shop.example.com"], endpoints)
    assert [str(p.target) for p in found] == ["a.shop.example.com:443", "mail.shop.example.com:25", "shop.example.com:443"]
    assert [(s, str(t)) for s, t in found[0].backends] == [("lb", "10.0.0.1:443"), ("lb", "10.0.0.2:8443")]
    (below,) = places(["x.a.shop.example.com"], endpoints)
    assert [str(t) for _, t in below.backends] == ["10.0.0.1:443", "10.0.0.2:8443"], (
        "a name without an endpoint is behind the balancer of its domain"
    )


HOST = "shop.example.com"


@pytest.fixture
def both(issuer: Authority) -> tuple[Issued, Issued, Issued]:
    """(EC, RSA, old EC)."""
    return (
        issuer.issue(HOST, key=ec.generate_private_key(ec.SECP256R1())), issuer.issue(HOST, key=rsa.generate_private_key(65537, 2048)), issuer.issue(HOST),
    )  # fmt: skip


def sha(issued: Issued) -> str:
    return parse(issued.der).sha256


def where(port: int, *addresses: str, backends: tuple[tuple[str, Target], ...] = ()) -> Where:
    return Where(Target(HOST, port), addresses or ("127.0.0.1",), backends)


def test_real_servers_with_one_and_two_key_types(settings: Settings, both: tuple[Issued, Issued, Issued], tmp_path: Path) -> None:
    new, new_rsa, old = both
    pair, pair_rsa = write_pair(tmp_path / "ec", new), write_pair(tmp_path / "rsa", new_rsa)
    with nginx(tmp_path, [(HOST, *pair)]) as port:
        sights = look(settings, [where(port)])
        assert {(s.key_type, s.sha256, s.error) for s in sights} == {("EC", sha(new), ""), ("RSA", None, "")}
        assert prove({"EC": sha(new)}, sights).state is Proven.LIVE
        assert prove({"EC": sha(old)}, sights, [sha(new)]).old
        assert prove({"EC": sha(new), "RSA": sha(new_rsa)}, sights).state is Proven.ABSENT
    second = f"ssl_certificate {pair_rsa[0]}; ssl_certificate_key {pair_rsa[1]};"
    (tmp_path / "two").mkdir()
    with nginx(tmp_path / "two", [(HOST, *pair)], extra=second) as port:
        sights = look(settings, [where(port)])
        assert prove({"EC": sha(new), "RSA": sha(new_rsa)}, sights).state is Proven.LIVE
        assert prove({"EC": sha(new)}, sights).state is Proven.ABSENT, "an RSA certificate that nobody expects is served too"


def test_tls_1_2_alone_is_asked_for_each_key_type_too(
    settings: Settings, both: tuple[Issued, Issued, Issued], tmp_path: Path
) -> None:
    new, new_rsa, _ = both
    pair, pair_rsa = write_pair(tmp_path / "ec", new), write_pair(tmp_path / "rsa", new_rsa)
    extra = f"ssl_protocols TLSv1.2; ssl_certificate {pair_rsa[0]}; ssl_certificate_key {pair_rsa[1]};"
    with nginx(tmp_path, [(HOST, *pair)], extra=extra) as port:
        assert prove({"EC": sha(new), "RSA": sha(new_rsa)}, look(settings, [where(port)])).state is Proven.LIVE


def test_a_forgotten_address_a_dead_one_and_a_backend(
    settings: Settings, both: tuple[Issued, Issued, Issued], tmp_path: Path
) -> None:
    new, _, old = both
    with contextlib.ExitStack() as servers:
        port = servers.enter_context(
            nginx(_folder(tmp_path, "a"), [(HOST, *write_pair(tmp_path / "a", new))], address="127.0.0.2")
        )
        behind = servers.enter_context(
            nginx(_folder(tmp_path, "b"), [(HOST, *write_pair(tmp_path / "b", old))], address="127.0.0.3")
        )
        proof = prove(
            {"EC": sha(new)},
            look(settings, [where(port, "127.0.0.2", backends=(("lb1", Target("127.0.0.3", behind)),))]),
            sha(old),
        )
        assert proof.state is Proven.PARTIAL
        assert proof.old == (f"{HOST}:{behind} at backend 127.0.0.3 of lb1",)
        dead = prove({"EC": sha(new)}, look(settings, [where(port, "127.0.0.2", "127.0.0.4")]), [sha(old)])
        assert dead.state is Proven.UNKNOWN, "an address that refuses is neither live nor old"
        assert "127.0.0.4" in dead.unknown[0]


def _folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir(parents=True, exist_ok=True)
    return tmp_path / name


def test_a_name_that_points_inside_is_not_visited(settings: Settings, opened: contextlib.ExitStack) -> None:
    from tests.servers.real import dns

    server = opened.enter_context(dns({HOST: ["127.0.0.1"], "gone.example.com": "NXDOMAIN"}))
    asked = replace(settings, scan=replace(settings.scan, resolvers=(server,)))
    proof = prove({"EC": NEW}, look(asked, [Where(Target(HOST, free_port()))]))
    assert proof.state is Proven.UNKNOWN
    assert "not visited" in proof.unknown[0]
    assert prove({"EC": NEW}, look(asked, [Where(Target("gone.example.com"))])).state is Proven.UNKNOWN
