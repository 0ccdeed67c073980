"""Reading a certbot installation: accounts, lineages, web roots and hooks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from certmgr.demo.authority import Authority
from certmgr.deploy.certbot import parse_renewal_config, read_installation
from inventory.errors import UsageError
from tests.certmgr.deploy.certbot_place import SERVER, certbot_account, certbot_lineage
from tests.certmgr.deploy.rig import NAME, make_bundle

STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
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


def public(key: Any) -> bytes:
    form = PublicFormat.SubjectPublicKeyInfo
    data: bytes = key.public_key().public_bytes(Encoding.DER, form)
    return data


def test_accounts_with_rsa_and_ec_keys_are_read(base: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    keys: list[Any] = [
        rsa_key,
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
    ]
    ids = [
        certbot_account(base, keys[0], contact="admin@provider.example"),
        certbot_account(base, keys[1]),
        certbot_account(base, keys[2], server=STAGING),
    ]
    found = read_installation(base)
    assert found.problems == ()
    accounts = {a.id: a for a in found.accounts}
    assert set(accounts) == set(ids)
    for key, name in zip(keys, ids, strict=True):
        assert public(load_pem_private_key(accounts[name].key_pem, None)) == public(key)
        number = int(name[:8], 16)
        assert accounts[name].uri == f"https://acme-v02.api.letsencrypt.org/acme/acct/{number}"
    assert accounts[ids[0]].contacts == ("admin@provider.example",)
    assert accounts[ids[1]].contacts == ()
    assert [accounts[i].directory_url for i in ids] == [SERVER, SERVER, STAGING]
    assert b"PRIVATE" not in repr(found).encode()


def test_lineage_is_read_with_its_web_roots(base: Path, issuer: Authority) -> None:
    account = certbot_account(base, ec.generate_private_key(ec.SECP256R1()))
    issued = issuer.issue(NAME, f"www.{NAME}")
    live = certbot_lineage(base, NAME, issued, account=account, more=WEBROOT)
    found = read_installation(base)
    assert found.problems == ()
    (one,) = found.lineages
    assert (one.name, one.names) == (NAME, (NAME, f"www.{NAME}"))
    assert (one.key_type, one.authenticator) == ("ec-p256", "webroot")
    assert one.webroots == {
        NAME: "/var/www/shop",
        "*.quoted.example": "/var/www/a # b, c",
        f"www.{NAME}": "/var/www/www",
    }
    assert (one.directory_url, one.account_id) == (SERVER, account)
    assert (one.reuse_key, one.preferred_chain) == (True, "ISRG Root X1")
    assert one.hooks == {"renew_hook": "systemctl reload nginx, quickly"}
    assert one.live == live
    assert one.bundle.key_pem == issued.key_pem
    assert one.bundle.chain_der == make_bundle(issued).chain_der
    assert found.account_of(one) == found.accounts[0]


def test_lineage_with_an_rsa_key_and_another_authenticator_is_read(
    base: Path, issuer: Authority, rsa_key: rsa.RSAPrivateKey
) -> None:
    issued = issuer.issue(NAME, key=rsa_key)
    certbot_lineage(base, f"{NAME}-0001", issued, more="authenticator = nginx\n")
    (one,) = read_installation(base).lineages
    assert (one.name, one.key_type) == (f"{NAME}-0001", "rsa-2048")
    assert (one.authenticator, one.webroots) == ("nginx", {})


def test_broken_file_is_a_problem_and_the_rest_is_read(base: Path, issuer: Authority) -> None:
    good = certbot_account(base, ec.generate_private_key(ec.SECP256R1()))
    accounts = base / "accounts/acme-v02.api.letsencrypt.org/directory"
    key = (accounts / good / "private_key.json").read_text()
    uri = '{"uri": "https://x"}'
    broken_accounts = {
        "empty": {"private_key.json": ""},
        "no-regr": {"private_key.json": "{}"},
        "no-key": {"regr.json": uri},
        "no-jwk": {"private_key.json": '{"kty": "EC"}', "regr.json": uri},
        "symmetric": {"private_key.json": '{"kty": "oct", "k": "Zm9v"}', "regr.json": uri},
        "plain-http": {"private_key.json": key, "regr.json": '{"uri": "http://x"}'},
        "a-list": {"private_key.json": "[]", "regr.json": "[]"},
    }
    for name, files in broken_accounts.items():
        (accounts / name).mkdir()
        for file, text in files.items():
            (accounts / name / file).write_text(text)
    for word in ("good", "no-key", "mixed", "no-live", "garbled"):
        certbot_lineage(base, f"{word}.example", issuer.issue(f"{word}.example"))
    (base / "archive/no-key.example/privkey1.pem").unlink()
    (base / "archive/mixed.example/privkey1.pem").write_bytes(issuer.issue("x").key_pem)
    shutil.rmtree(base / "live/no-live.example")
    (base / "renewal/garbled.example.conf").write_bytes(b"\xff\xfe\x00 nonsense [[[\n")
    (base / "renewal/..conf").write_text("version = 1\n")
    os.mkfifo(base / "renewal/pipe.example.conf")
    found = read_installation(base)
    assert [a.id for a in found.accounts] == [good]
    assert [c.name for c in found.lineages] == ["good.example"]
    broken_lineages = {"no-key.example", "mixed.example", "no-live.example", "garbled.example"}
    assert {p.path.name for p in found.problems} == {
        *broken_accounts,
        *(f"{name}.conf" for name in broken_lineages),
        "..conf",
        "pipe.example.conf",
    }
    assert all(p.reason for p in found.problems)


def test_account_that_certbot_linked_is_read_for_both_servers(base: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    account = certbot_account(base, key, server="https://old.example/directory")
    (base / "accounts/new.example").mkdir()
    new = base / "accounts/new.example/directory"
    new.symlink_to(base / "accounts/old.example/directory")
    (base / "accounts/new.example/loop").symlink_to(base / "accounts")
    found = read_installation(base)
    urls = {a.directory_url for a in found.accounts if "loop" not in a.directory_url}
    assert urls == {"https://old.example/directory", "https://new.example/directory"}
    assert {a.id for a in found.accounts} == {account}
    assert len(found.accounts) < 50, "a loop of links comes to an end"


def test_directory_that_is_not_certbots_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not certbot's directory"):
        read_installation(tmp_path)


def test_ini_file_is_parsed_as_certbot_writes_it() -> None:
    text = (
        "# remark\nversion = 1\nlist = a, 'b, c',\nempty = \n[x]\nk = v # remark\n[[y]]\n'q' ="
        ' "#"\n[z]\na=b=c\n'
    )
    assert parse_renewal_config(text) == {
        (): {"version": "1", "list": ("a", "b, c"), "empty": ""},
        ("x",): {"k": "v"},
        ("x", "y"): {"q": "#"},
        ("z",): {"a": "b=c"},
    }


@pytest.mark.parametrize(
    ("written", "value"),
    [
        # ConfigObj writes these if a value has both kinds of quotation marks, or several lines.
        ("'''sh -c 'echo \"a, b\"' # x'''", "sh -c 'echo \"a, b\"' # x"),
        ('"""cp a b\nreload = "x" \'y\'"""', "cp a b\nreload = \"x\" 'y'"),
        ('"""[z]"""   # remark', "[z]"),
        ("''''''", ""),
    ],
)
def test_value_in_three_quotation_marks_is_read(written: str, value: str) -> None:
    sections = parse_renewal_config(f"[renewalparams]\nrenew_hook = {written}\nlast = 1\n")
    assert sections[("renewalparams",)] == {"renew_hook": value, "last": "1"}


@pytest.mark.parametrize(
    ("lines", "profile"),
    [
        ("preferred_profile = None\nrequired_profile = tlsserver\n", "tlsserver"),
        ("preferred_profile = shortlived\nrequired_profile = None\n", "shortlived"),
        ("preferred_profile = None\nrequired_profile = None\n", ""),
    ],
)
def test_options_of_renewals_are_kept_or_named(
    base: Path, issuer: Authority, lines: str, profile: str
) -> None:
    account = certbot_account(base, ec.generate_private_key(ec.SECP256R1()))
    more = f"authenticator = dns-nowhere\nreuse_key = True\nmust_staple = True\n{lines}"
    certbot_lineage(base, "shop.test", issuer.issue("shop.test"), account=account, more=more)
    (lineage,) = read_installation(base).lineages
    assert (lineage.profile, lineage.reuse_key) == (profile, True)
    assert lineage.authenticator == "dns-nowhere", "a plugin that is missing prevents nothing"
    assert "must-staple" in lineage.remarks[0]


@pytest.mark.parametrize("text", ["[[deep]]\n", "[x]]]\n", "[[x]\n", "word\n", 'a = """x\n'])
def test_ini_file_that_certbot_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_renewal_config(text)
