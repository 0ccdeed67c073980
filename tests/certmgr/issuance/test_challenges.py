"""Every way of showing control, against a CA that really looks."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certmgr.cases import csr
from certmgr.config import Settings
from certmgr.config_acme import SolverSettings
from certmgr.deploy.lineage import Lineage
from certmgr.issuance.challenges.build import make, snippet
from certmgr.issuance.challenges.interface import Proof, proof
from certmgr.issuance.challenges.webroot import WebRoot, trusted
from inventory.clock import system_clock
from inventory.database import Database
from inventory.errors import CertmgrError, UsageError
from inventory.store import cases
from tests.certmgr.issuance.shop import Shop, shop
from tests.servers.bind import named
from tests.servers.pebble import Pebble, pebble
from tests.servers.ports import free_port
from tests.servers.real import program, web, write_pair


def leaf(place: Shop, lineage: int) -> x509.Certificate:
    row = place.row(lineage)
    with place.database.read() as conn:
        return x509.load_der_x509_certificate(cases.chain_of(conn, [row["sha256"]])[0])


def names(certificate: x509.Certificate) -> set[str]:
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*san.get_values_for_type(x509.DNSName), *(str(a) for a in san.get_values_for_type(x509.IPAddress))}


def solve(place: Shop, **solvers: SolverSettings) -> None:
    place.settings = replace(
        place.settings, acme=replace(place.settings.acme, solvers={**place.settings.acme.solvers, **solvers})
    )


# -- http-01 -------------------------------------------------------------------------------------------------------------


def test_several_names_one_of_them_international_and_an_address(place: Shop) -> None:
    wanted = ["shop.test", "www.shop.test", "xn--mller-kva.test", "127.0.0.1"]
    lineage = place.lineage("1001", wanted)
    done = place.order(lineage)
    assert done.state == "issued", done
    assert names(leaf(place, lineage)) == set(wanted)


def test_a_hundred_names(place: Shop) -> None:
    wanted = [f"n{i}.shop.test" for i in range(100)]
    lineage = place.lineage("1001", wanted)
    assert place.order(lineage).state == "issued"
    assert len(names(leaf(place, lineage))) == 100


@pytest.mark.parametrize("kind", ["webroot", "alias"])
def test_files_that_a_web_server_hands_out(
    place: Shop, ca: Pebble, tmp_path: Path, opened: ExitStack, root: object, kind: str
) -> None:
    site = tmp_path / "sites" / "shop.test"
    shared = tmp_path / "shared"
    shared.mkdir()
    site.mkdir(parents=True)
    own = SolverSettings(kind=kind, path=str(tmp_path / "sites" / "{name}") if kind == "webroot" else str(shared))
    from certmgr.demo.authority import self_signed

    folder = tmp_path / "nginx"
    folder.mkdir()
    pair = write_pair(folder, self_signed("shop.test"))
    plain = f"root {site};" if kind == "webroot" else snippet(own, "nginx")
    http = f"server {{ listen 127.0.0.1:{ca.http_port}; server_name shop.test; {plain} }}"
    opened.enter_context(web(folder, pair, "", "", http=http))
    solve(place, web=own)
    assert place.order(place.lineage("1001", ["shop.test"])).state == "issued"
    assert [p for p in (*site.rglob("*"), *shared.rglob("*")) if p.is_file()] == []


def test_the_snippets_are_taken_by_nginx_and_apache(tmp_path: Path) -> None:
    import subprocess

    alias, inside = SolverSettings(kind="alias", path="/srv/acme"), SolverSettings(kind="standalone", port=8402)
    for number, own in enumerate((alias, inside)):
        config = tmp_path / f"nginx{number}.conf"
        config.write_text(
            f"pid {tmp_path}/pid; error_log {tmp_path}/e;\nevents {{}}\nhttp {{ access_log off; server {{ listen 127.0.0.1:{free_port()}; {snippet(own, 'nginx')} }} }}"
        )
        done = subprocess.run(
            [program("nginx", "nginx-light"), "-t", "-e", str(tmp_path / "e"), "-c", str(config)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        modules = "/usr/lib/apache2/modules"
        load = "".join(
            f"LoadModule {m}_module {modules}/mod_{m}.so\n" for m in ("mpm_event", "authz_core", "alias", "proxy", "proxy_http")
        )
        apache = tmp_path / f"apache{number}.conf"
        apache.write_text(
            f"ServerRoot {tmp_path}\nServerName x.test\nPidFile {tmp_path}/apid\nErrorLog {tmp_path}/ae\nListen 127.0.0.1:{free_port()}\n{load}{snippet(own, 'apache')}"
        )
        done = subprocess.run([program("apache2", "apache2-bin"), "-t", "-f", str(apache)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with pytest.raises(UsageError, match="needs nothing"):
        snippet(SolverSettings(kind="webroot", path="/srv"), "nginx")


# -- a hostile web root --------------------------------------------------------------------------------------------------


def hostile(tmp_path: Path) -> tuple[Path, Path, WebRoot]:
    """(the client's web root, a folder that nobody may write to, the solver)."""
    site, target = tmp_path / "www" / "shop.test" / "htdocs", tmp_path / "etc"
    site.mkdir(parents=True)
    target.mkdir()
    return site, target, WebRoot(str(tmp_path / "www" / "{name}" / "htdocs"))


PROOF = Proof("shop.test", "token-1", "token-1.thumb")


@pytest.mark.parametrize("where", ["root", "well-known", "acme-challenge"])
def test_a_link_in_a_web_root_is_not_followed(tmp_path: Path, where: str) -> None:
    site, target, solver = hostile(tmp_path)
    if where == "root":
        site.rmdir()
        site.symlink_to(target)
    elif where == "well-known":
        (site / ".well-known").symlink_to(target)
    else:
        (site / ".well-known").mkdir()
        (site / ".well-known" / "acme-challenge").symlink_to(target)
    with pytest.raises(CertmgrError, match="a link"):
        solver.present([PROOF])
    solver.clean([PROOF])
    assert list(target.iterdir()) == []


def test_a_link_in_place_of_the_file_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    site, target, solver = hostile(tmp_path)
    victim = target / "passwd"
    victim.write_text("secret")
    folder = site / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token-1").symlink_to(victim)
    solver.present([PROOF])
    assert victim.read_text() == "secret"
    assert (folder / "token-1").read_text() == "token-1.thumb" and not (folder / "token-1").is_symlink()
    solver.clean([PROOF])
    assert list(folder.iterdir()) == []


def test_what_is_made_belongs_to_the_owner_of_the_web_root(tmp_path: Path) -> None:
    assert os.geteuid() == 0, "the tests run as root, as CI does"
    site, _, solver = hostile(tmp_path)
    os.chown(site, 12345, 12346)
    solver.present([PROOF])
    for path in (
        site / ".well-known",
        site / ".well-known" / "acme-challenge",
        site / ".well-known" / "acme-challenge" / "token-1",
    ):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (12345, 12346)
    assert stat.S_IMODE((site / ".well-known" / "acme-challenge" / "token-1").stat().st_mode) == 0o644


@pytest.mark.parametrize("token", ["../../etc/cron.d/x", "a/b", "", "a b", "x" * 300, None, 5, "a\n", "ä"])
def test_a_token_that_would_be_a_path_is_refused(token: object) -> None:
    with pytest.raises(CertmgrError, match="token"):
        proof("shop.test", token, "thumb")


def test_the_part_that_belongs_to_a_client_begins_where_its_name_stands() -> None:
    assert trusted("/srv/www/{name}/htdocs", "a.test") == (Path("/srv/www"), ["a.test", "htdocs"])
    assert trusted("/srv/www", "a.test") == (Path("/srv"), ["www"])


# -- tls-alpn-01 ---------------------------------------------------------------------------------------------------------


def test_tls_alpn(place: Shop) -> None:
    lineage = place.lineage("1001", ["shop.test", "www.shop.test", "127.0.0.1"], solver="alpn")
    done = place.order(lineage)
    assert done.state == "issued", done
    assert names(leaf(place, lineage)) == {"shop.test", "www.shop.test", "127.0.0.1"}


# -- dns-01 --------------------------------------------------------------------------------------------------------------


def hook(tmp_path: Path, ca: Pebble) -> SolverSettings:
    """A program that sets records in challtestsrv, and writes down how it was called."""
    path = tmp_path / "dns-hook"
    path.write_text(
        f"#!{sys.executable}\nimport json, sys, urllib.request\n"
        f"action, name, value = sys.argv[1:]\nopen({str(tmp_path / 'calls')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"body = {{'host': name + '.', 'value': value}} if action == 'add' else {{'host': name + '.'}}\n"
        f"urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open({ca.dns_management!r} + ('/set-txt' if action == 'add' else '/clear-txt'), json.dumps(body).encode())\n"
    )
    path.chmod(0o755)
    return SolverSettings(kind="hook", command=(str(path),), propagation=5.0)


def test_a_wildcard_with_its_bare_name_by_a_program(place: Shop, ca: Pebble, tmp_path: Path) -> None:
    solve(place, dns=hook(tmp_path, ca))
    lineage = place.lineage("1001", ["*.shop.test", "shop.test"], solver="dns")
    done = place.order(lineage)
    assert done.state == "issued", done
    assert names(leaf(place, lineage)) == {"*.shop.test", "shop.test"}
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert [c[0] for c in calls] == ["add", "add", "remove", "remove"]
    assert {c[1] for c in calls} == {"_acme-challenge.shop.test"}


def test_a_delegated_challenge_is_set_where_the_cname_leads(place: Shop, ca: Pebble, tmp_path: Path) -> None:
    solve(place, dns=hook(tmp_path, ca))
    ca.add_cname("_acme-challenge.shop.test", "shop-test.acme.provider.test")
    try:
        assert place.order(place.lineage("1001", ["shop.test"], solver="dns")).state == "issued"
    finally:
        ca.clear_cname("_acme-challenge.shop.test")
    assert {line.split()[1] for line in (tmp_path / "calls").read_text().splitlines()} == {"shop-test.acme.provider.test"}


@pytest.mark.parametrize("kind", ["rfc2136", "lexicon"])
def test_dynamic_update_of_a_real_name_server(
    database: Database, settings: Settings, tmp_path: Path, opened: ExitStack, kind: str
) -> None:
    server = opened.enter_context(named(tmp_path, "shop.test"))
    ca = opened.enter_context(pebble(tmp_path / "pebble", resolver=server.resolver, authz_reuse=0))
    place = shop(database, settings, tmp_path, ca.directory, ca.ca_file, dns=server.resolver)
    place.client("1001", "shop.test")
    place.register()
    os.environ["TSIG_SECRET"] = server.secret
    try:
        own = SolverSettings(
            kind="rfc2136", server=f"{server.address}:{server.port}", tsig_name=server.key_name, tsig_secret="env:TSIG_SECRET", tsig_algorithm=server.algorithm, propagation=5.0,
        )  # fmt: skip
        if kind == "lexicon":
            # The provider of dns-lexicon that speaks RFC 2136; it takes no port, so it is shown that it is called and what it says.
            os.environ["LEXICON_TOKEN"] = f"{server.algorithm}:{server.key_name}:{server.secret}"
            own = SolverSettings(
                kind="lexicon",
                provider="ddns",
                zone="shop.test",
                credentials=("auth_token=env:LEXICON_TOKEN", f"ddns_server={server.address}"),
                propagation=1.0,
            )
        solve(place, dns=own)
        lineage = place.lineage("1001", ["*.shop.test", "shop.test"], solver="dns")
        done = place.order(lineage)
    finally:
        os.environ.pop("TSIG_SECRET", None)
        os.environ.pop("LEXICON_TOKEN", None)
    if kind == "lexicon":
        assert (
            done.state == "failed" and "The DNS provider ddns did not take the record _acme-challenge.shop.test" in done.said
        ), done
        assert server.secret not in done.said
        return
    assert done.state == "issued", done
    assert names(leaf(place, lineage)) == {"*.shop.test", "shop.test"}
    assert server.txt("_acme-challenge.shop.test") == []


def test_a_wrong_key_of_the_name_server_is_said(
    database: Database, settings: Settings, tmp_path: Path, opened: ExitStack
) -> None:
    server = opened.enter_context(named(tmp_path, "shop.test"))
    own = SolverSettings(
        kind="rfc2136",
        server=f"{server.address}:{server.port}",
        zone="shop.test",
        tsig_name=server.key_name,
        tsig_secret="AAAA",
        tsig_algorithm=server.algorithm,
    )
    from certmgr.dns.ask import Asker

    with pytest.raises(CertmgrError, match="did not take the record"):
        make(own, lambda: Asker((server.resolver,)), system_clock).present([PROOF])


# -- keys ----------------------------------------------------------------------------------------------------------------


def test_both_kinds_of_key_for_one_name(place: Shop) -> None:
    first, second = (
        place.lineage("1001", ["shop.test"]),
        place.lineage("1001", ["shop.test"], "shop.test-rsa", key_type="rsa-2048"),
    )
    assert place.order(first).state == place.order(second).state == "issued"
    assert (
        type(leaf(place, first).public_key()).__name__ == "ECPublicKey"
        and type(leaf(place, second).public_key()).__name__ == "RSAPublicKey"
    )


def test_a_new_key_each_time_or_the_same(place: Shop) -> None:
    def keys(lineage: int) -> list[bytes]:
        found = []
        for _ in range(2):
            assert place.order(lineage).state == "issued"
            folder = Lineage(place.office.base, place.row(lineage)["name"])
            folder.switch(folder.versions()[-1])
            material = folder.read_current()
            assert material is not None and material.key_pem is not None
            found.append(material.key_pem)
        return found

    fresh = keys(place.lineage("1001", ["shop.test"]))
    assert fresh[0] != fresh[1]
    same = keys(place.lineage("1001", ["www.shop.test"], reuse_key=1))
    assert same[0] == same[1]


def test_the_clients_own_csr(place: Shop) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = csr.make(key, ["shop.test"], True).decode()
    lineage = place.lineage("1001", ["shop.test"], csr=request)
    assert place.order(lineage).state == "issued"
    assert leaf(place, lineage).public_key().public_bytes(Encoding.DER, _spki()) == key.public_key().public_bytes(
        Encoding.DER, _spki()
    )
    version = Lineage(place.office.base, "shop.test").versions()[-1]
    assert Lineage(place.office.base, "shop.test").read(version).key_pem is None
    assert list((place.office.base / "keys").glob("order-*")) == []


def _spki() -> PublicFormat:
    return PublicFormat.SubjectPublicKeyInfo


def test_a_wildcard_by_http_is_refused_before_the_ca_hears_of_it(place: Shop, ca: Pebble) -> None:
    from certmgr.issuance.arrange import Wanted, arrange

    before = ca.order_count()
    with pytest.raises(UsageError, match="needs dns-01"):
        arrange(place.database, place.settings, Wanted(("*.shop.test",)))
    assert ca.order_count() == before
