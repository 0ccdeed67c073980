"""A certbot that was here before: what is read of it, and its place taken link by link."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from certmgr.config_acme import TargetSettings
from certmgr.demo.authority import Authority
from certmgr.deploy.certbot import parse, read
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule, schedules, take_over_links, timers_enabled, undo
from certmgr.deploy.targets import deliver
from inventory.errors import CertmgrError, UsageError
from tests.certmgr.deploy.certbot_place import SERVER, certbot_account, certbot_lineage
from tests.certmgr.deploy.rig import NAME, by_links, material, stored

FORM = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
WEBROOT = f"""authenticator = webroot
webroot_path = /var/www/shop, /var/www/www
key_type = ecdsa
reuse_key = True
preferred_chain = ISRG Root X1
renew_hook = "systemctl reload nginx, quickly"
post_hook = None
[[webroot_map]]
{NAME} = /var/www/shop
"*.quoted.example" = '/var/www/a # b, c'  # a remark
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "letsencrypt"


def content(base: Path) -> dict[str, bytes]:
    """Every file and link of a folder."""
    return {
        str(p.relative_to(base)): os.fsencode(p.readlink()) if p.is_symlink() else p.read_bytes()
        for p in base.rglob("*")
        if p.is_symlink() or p.is_file()
    }


def test_accounts_with_rsa_and_ec_keys(base: Path) -> None:
    keys: list[Any] = [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
    ]
    staging = "https://acme-staging-v02.api.letsencrypt.org/directory"
    ids = [
        certbot_account(base, key, server=server, contact=contact)
        for key, server, contact in zip(keys, (SERVER, SERVER, staging), ("admin@provider.example", "", ""), strict=True)
    ]
    found = read(base)
    assert found.problems == ()
    accounts = {a.id: a for a in found.accounts}
    assert set(accounts) == set(ids)
    for key, name in zip(keys, ids, strict=True):
        ours = load_pem_private_key(accounts[name].key_pem, None)
        assert ours.public_key().public_bytes(*FORM) == key.public_key().public_bytes(*FORM)
        assert accounts[name].uri == f"https://acme-v02.api.letsencrypt.org/acme/acct/{int(name[:8], 16)}"
    assert accounts[ids[0]].contacts == ("admin@provider.example",)
    assert accounts[ids[1]].contacts == ()
    assert [accounts[i].directory_url for i in ids] == [SERVER, SERVER, staging]
    assert b"PRIVATE" not in repr(found).encode()


def test_a_lineage_with_its_web_roots(base: Path, issuer: Authority) -> None:
    account = certbot_account(base, ec.generate_private_key(ec.SECP256R1()))
    issued = issuer.issue(NAME, f"www.{NAME}")
    live = certbot_lineage(base, NAME, issued, account=account, more=WEBROOT)
    found = read(base)
    assert found.problems == ()
    (one,) = found.lineages
    assert (one.name, one.names, one.key_type, one.authenticator) == (NAME, (NAME, f"www.{NAME}"), "ec-p256", "webroot")
    assert one.webroots == {NAME: "/var/www/shop", "*.quoted.example": "/var/www/a # b, c", f"www.{NAME}": "/var/www/www"}
    assert (one.directory_url, one.account_id, one.reuse_key, one.preferred_chain) == (SERVER, account, True, "ISRG Root X1")
    assert one.hooks == {"renew_hook": "systemctl reload nginx, quickly"}
    assert one.live == live
    assert one.material.key_pem == issued.key_pem
    assert one.material.chain_der == material(issued).chain_der
    assert found.account_of(one) == found.accounts[0]


def test_rsa_and_another_authenticator(base: Path, issuer: Authority) -> None:
    certbot_lineage(
        base, f"{NAME}-0001", issuer.issue(NAME, key=rsa.generate_private_key(65537, 2048)), more="authenticator = nginx\n"
    )
    (one,) = read(base).lineages
    assert (one.name, one.key_type, one.authenticator, one.webroots) == (f"{NAME}-0001", "rsa-2048", "nginx", {})


def test_one_broken_file_is_a_problem_and_does_not_stop_the_rest(base: Path, issuer: Authority) -> None:
    good = certbot_account(base, ec.generate_private_key(ec.SECP256R1()))
    accounts = base / "accounts/acme-v02.api.letsencrypt.org/directory"
    for name, files in {
        "empty": {"private_key.json": ""}, "no-regr": {"private_key.json": "{}"}, "no-key": {"regr.json": '{"uri": "https://x"}'},
        "no-jwk": {"private_key.json": '{"kty": "EC"}', "regr.json": '{"uri": "https://x"}'},
        "symmetric": {"private_key.json": '{"kty": "oct", "k": "Zm9v"}', "regr.json": '{"uri": "https://x"}'},
        "plain-http": {"private_key.json": (accounts / good / "private_key.json").read_text(), "regr.json": '{"uri": "http://x"}'},
        "a-list": {"private_key.json": "[]", "regr.json": "[]"},
    }.items():  # fmt: skip
        (accounts / name).mkdir()
        for file, text in files.items():
            (accounts / name / file).write_text(text)
    for name in ("good.example", "no-key.example", "mixed.example", "no-live.example", "garbled.example"):
        certbot_lineage(base, name, issuer.issue(name))
    (base / "archive/no-key.example/privkey1.pem").unlink()
    (base / "archive/mixed.example/privkey1.pem").write_bytes(issuer.issue("x").key_pem)
    shutil.rmtree(base / "live/no-live.example")
    (base / "renewal/garbled.example.conf").write_bytes(b"\xff\xfe\x00 nonsense [[[\n")
    (base / "renewal/..conf").write_text("version = 1\n")
    (base / "renewal/pipe.example.conf").unlink(missing_ok=True)
    os.mkfifo(base / "renewal/pipe.example.conf")
    found = read(base)
    assert [a.id for a in found.accounts] == [good]
    assert [c.name for c in found.lineages] == ["good.example"]
    broken = {p.path.name for p in found.problems}
    assert broken == {
        "empty", "no-regr", "no-key", "no-jwk", "symmetric", "plain-http", "a-list",
        "no-key.example.conf", "mixed.example.conf", "no-live.example.conf", "garbled.example.conf", "..conf", "pipe.example.conf",
    }  # fmt: skip
    assert all(p.why for p in found.problems)


def test_accounts_that_certbot_linked_stand_under_both_servers(base: Path, issuer: Authority) -> None:
    account = certbot_account(base, ec.generate_private_key(ec.SECP256R1()), server="https://old.example/directory")
    (base / "accounts/new.example").mkdir()
    (base / "accounts/new.example/directory").symlink_to(base / "accounts/old.example/directory")
    (base / "accounts/new.example/loop").symlink_to(base / "accounts")
    found = read(base)
    urls = {a.directory_url for a in found.accounts if "loop" not in a.directory_url}
    assert urls == {"https://old.example/directory", "https://new.example/directory"}
    assert {a.id for a in found.accounts} == {account}
    assert len(found.accounts) < 50, "a loop comes to an end"


def test_what_is_no_folder_of_certbots_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not certbot's directory"):
        read(tmp_path)


def test_the_ini_file_that_certbot_writes() -> None:
    text = "# remark\nversion = 1\nlist = a, 'b, c',\nempty = \n[x]\nk = v # remark\n[[y]]\n'q' = \"#\"\n[z]\na=b=c\n"
    assert parse(text) == {
        (): {"version": "1", "list": ("a", "b, c"), "empty": ""}, ("x",): {"k": "v"}, ("x", "y"): {"q": "#"}, ("z",): {"a": "b=c"},
    }  # fmt: skip
    for bad in ("[[deep]]\n", "[x]]]\n", "[[x]\n", "word\n", 'a = """x\n'):
        with pytest.raises(UsageError):
            parse(bad)


# -- its schedule ------------------------------------------------------------------------------------------------------


def test_its_schedule_is_found_and_the_way_to_end_it(tmp_path: Path) -> None:
    assert schedules(tmp_path) == []
    assert not timers_enabled(tmp_path)
    wants = tmp_path / "etc/systemd/system/timers.target.wants"
    wants.mkdir(parents=True)
    (wants / "certbot.timer").symlink_to("/lib/systemd/system/certbot.timer")
    (wants / "snap.certbot.renew.timer").symlink_to("/etc/systemd/system/snap.certbot.renew.timer")
    (wants / "certbot-renew.timer").symlink_to("/dev/null")
    cron = tmp_path / "etc/cron.d/certbot"
    cron.parent.mkdir(parents=True)
    cron.write_text(
        "SHELL=/bin/sh\n# certbot renews\n0 */12 * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system && certbot -q renew\n"
    )
    found = schedules(tmp_path)
    assert [s.disable for s in found] == [
        ("/usr/bin/systemctl", "disable", "--now", "certbot.timer"),
        ("/usr/bin/systemctl", "disable", "--now", "snap.certbot.renew.timer"),
        None,
    ]
    assert str(cron) in found[2].todo
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert len(schedules(tmp_path)) == 2, "Debian's line does nothing where systemd runs"
    (tmp_path / "etc/crontab").write_text("0 3 * * * root certbot renew\n")
    assert schedules(tmp_path)[2] == Schedule(
        f"cron: {tmp_path}/etc/crontab",
        None,
        f"put a # before the line with certbot in {tmp_path}/etc/crontab, or move the file away",
    )
    assert timers_enabled(tmp_path)


# -- its links ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [False, True], ids=["a base of its own", "in certbot's folder"])
def test_links_are_taken_over_used_and_given_back(tmp_path: Path, base: Path, issuer: Authority, inside: bool) -> None:
    issued = issuer.issue(NAME)
    live = certbot_lineage(base, NAME, issued)
    before = content(base)
    lineage = Lineage(base if inside else tmp_path / "ours", NAME)
    lineage.switch(stored(lineage, issued))
    for _ in range(2):
        take_over_links(live, lineage)
        assert by_links(live).sha256 == material(issued).sha256
        assert (live / "combined.pem").read_bytes() == issued.key_pem + issued.chain_pem
    assert lineage.held() is None
    assert not live.is_symlink()
    link = str((live / "privkey.pem").readlink())
    assert link == (f"../../archive/{NAME}/current/privkey.pem" if inside else f"{lineage.archive}/current/privkey.pem")
    new = issuer.issue(NAME)
    assert deliver(TargetSettings("reload", reload=("/bin/true",), settle=0.0), NAME, material(new), lineage.base).ok
    assert by_links(live).sha256 == material(new).sha256
    after = content(base)
    assert {n: d for n, d in after.items() if n in before and not n.startswith(f"live/{NAME}/")} == {
        n: d for n, d in before.items() if not n.startswith(f"live/{NAME}/")
    }, "nothing else of certbot's is touched"
    undo(lineage)
    given_back = content(base)
    assert {n: given_back.get(n) for n in before} == before
    assert not (live / "combined.pem").exists()
    with pytest.raises(UsageError, match="Nothing of certbot was taken over"):
        undo(lineage)
    take_over_links(live, lineage)
    assert by_links(live).sha256 == material(issued).sha256


def test_another_certificate_than_certbots_takes_nothing_over(tmp_path: Path, base: Path, issuer: Authority) -> None:
    live = certbot_lineage(base, NAME, issuer.issue(NAME))
    lineage = Lineage(tmp_path / "ours", NAME)
    before = content(base)
    with pytest.raises(CertmgrError, match="no certificate in use yet"):
        take_over_links(live, lineage)
    lineage.switch(stored(lineage, issuer.issue(NAME)))
    with pytest.raises(CertmgrError, match="shows another certificate than ours"):
        take_over_links(live, lineage)
    assert content(base) == before
    assert lineage.held() is None


def test_a_folder_that_is_not_as_certbot_makes_it_is_left_alone(tmp_path: Path, base: Path, issuer: Authority) -> None:
    issued = issuer.issue(NAME)
    live = certbot_lineage(base, NAME, issued)
    lineage = Lineage(tmp_path / "ours", NAME)
    lineage.switch(stored(lineage, issued))
    (live / "cert.pem").unlink()
    (live / "cert.pem").write_bytes(b"copied here by somebody")
    with pytest.raises(UsageError, match=r"cert\.pem is not a link"):
        take_over_links(live, lineage)
    (tmp_path / "link").symlink_to(live)
    for path in (tmp_path / "link", tmp_path / "none"):
        with pytest.raises(UsageError, match="is not a folder of certbot's"):
            take_over_links(path, lineage)


def test_nothing_is_switched_while_links_are_exchanged(tmp_path: Path, base: Path, issuer: Authority) -> None:
    """A process died in the middle: a renewal in this state would show a server the key of one version and the certificate of another."""
    issued = issuer.issue(NAME)
    live = certbot_lineage(base, NAME, issued)
    lineage = Lineage(tmp_path / "ours", NAME)
    lineage.switch(stored(lineage, issued))
    lineage.hold("the links of certbot are being exchanged")
    done = deliver(TargetSettings("reload", reload=("/bin/true",), settle=0.0), NAME, material(issuer.issue(NAME)), lineage.base)
    assert (done.ok, done.retry) == (False, True)
    assert "being exchanged" in done.what
    take_over_links(live, lineage)
    assert deliver(
        TargetSettings("reload", reload=("/bin/true",), settle=0.0), NAME, material(issuer.issue(NAME)), lineage.base
    ).ok
    assert json.loads((lineage.archive / "certbot.json").read_text())["links"]["cert.pem"] == f"../../archive/{NAME}/cert1.pem"
