"""What is read from the directories of acme.sh, lego, dehydrated and win-acme."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from certmgr.demo.authority import Authority
from certmgr.deploy.client_model import ClientInstallation
from certmgr.deploy.clients.reading import shell_assignments
from certmgr.deploy.clients.registry import CLIENTS, guess, source_of
from certmgr.x509.pkcs12 import build_pkcs12
from inventory.certificates import parse
from inventory.errors import UsageError
from tests.certmgr.deploy.clients import places
from tests.certmgr.deploy.clients.places import (
    ACCOUNT,
    SERVER,
    acme_sh_account,
    acme_sh_certificate,
    dehydrated_base,
    dehydrated_certificate,
    encoded,
    lego_5_account,
    lego_account,
    lego_certificate,
    win_acme_account,
    win_acme_pem,
    win_acme_renewal,
    write,
)


@pytest.fixture(scope="module")
def issuer() -> Authority:
    return Authority("Issuer", Authority("Root"))


def read(client: str, path: Path, password: str = "") -> ClientInstallation:
    return source_of(client, password=password).read(path, {})


def test_acme_sh_is_read_with_its_installed_files_and_hooks(
    tmp_path: Path, issuer: Authority
) -> None:
    base, web = tmp_path / ".acme.sh", tmp_path / "nginx"
    acme_sh_account(base)
    acme_sh_certificate(
        base,
        "shop.test",
        issuer.issue("shop.test", "www.shop.test"),
        values={
            "Le_Alt": "www.shop.test",
            "Le_Webroot": "dns_cf",
            "Le_RealKeyPath": str(web / "shop.key"),
            "Le_RealFullChainPath": str(web / "shop.pem"),
            "Le_ReloadCmd": encoded("service nginx force-reload"),
            "Le_PostHook": encoded("echo 'done; rm x'"),
        },
    )
    found = read("acme.sh", base)
    assert found.problems == ()
    (lineage,) = found.lineages
    assert lineage.name == "shop.test" and lineage.names == ("shop.test", "www.shop.test")
    assert {f.path.name: f.content for f in lineage.files} == {
        "shop.test.key": "privkey.pem",
        "shop.test.cer": "cert.pem",
        "ca.cer": "chain.pem",
        "fullchain.cer": "fullchain.pem",
        "shop.key": "privkey.pem",
        "shop.pem": "fullchain.pem",
    }
    assert lineage.hooks == {
        "reloadcmd": "service nginx force-reload",
        "post-hook": "echo 'done; rm x'",
    }
    assert lineage.authenticator == "dns_cf" and lineage.reuse_key
    account = found.account_of(lineage)
    assert account is not None and account.uri == ACCOUNT and account.contacts == ("ca@shop.test",)
    assert lineage.directory_url == SERVER and load_pem_private_key(account.key_pem, None)


def test_acme_sh_with_rsa_and_ec_certificate_of_one_name_has_two_lineages(
    tmp_path: Path, issuer: Authority
) -> None:
    acme_sh_account(tmp_path)
    acme_sh_certificate(tmp_path, "shop.test", issuer.issue("shop.test"))
    acme_sh_certificate(
        tmp_path,
        "shop.test",
        issuer.issue("shop.test", key=rsa.generate_private_key(65537, 2048)),
        suffix="",
        values={"Le_ForceNewDomainKey": "1", "Le_Webroot": "no"},
    )
    acme_sh_certificate(tmp_path, "*.wild.test", issuer.issue("*.wild.test"))
    found = {x.name: x for x in read("acme.sh", tmp_path).lineages}
    assert sorted(found) == ["_.wild.test", "shop.test", "shop.test_ecc"]
    assert found["shop.test"].key_type == "rsa-2048" and not found["shop.test"].reuse_key
    assert found["shop.test"].authenticator == "standalone (port 80)"


def test_acme_sh_file_that_another_certificate_overwrote_has_no_content(
    tmp_path: Path, issuer: Authority
) -> None:
    acme_sh_account(tmp_path)
    path = tmp_path / "web" / "shop.pem"
    acme_sh_certificate(
        tmp_path,
        "shop.test",
        issuer.issue("shop.test"),
        values={"Le_RealFullChainPath": str(path)},
    )
    path.write_bytes(places.parts(issuer.issue("shop.test"))[3])
    (lineage,) = read("acme.sh", tmp_path).lineages
    assert {f.path: f.content for f in lineage.files}[path] == ""


def test_acme_sh_damaged_and_unfinished_certificates_are_problems_and_the_rest_is_read(
    tmp_path: Path, issuer: Authority
) -> None:
    acme_sh_account(tmp_path)
    acme_sh_certificate(tmp_path, "good.test", issuer.issue("good.test"))
    broken = acme_sh_certificate(tmp_path, "broken.test", issuer.issue("broken.test"))
    (broken / "fullchain.cer").write_bytes(b"-----BEGIN CERTIFICATE-----\n!!\n")
    (broken / "broken.test.cer").unlink()
    (broken / "ca.cer").unlink()
    write(tmp_path / "new.test_ecc" / "new.test.conf", b"Le_Domain='new.test'\n")
    found = read("acme.sh", tmp_path)
    assert [x.name for x in found.lineages] == ["good.test"]
    assert sorted(p.lineage for p in found.problems) == ["broken.test", "new.test"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A='x y' # comment", "x y"),
        ('A="${B}/c"', "b/c"),
        ("export A=$B", "b"),
        ('A="a\\"b"', 'a"b'),
        ("A='$(rm -rf /)'", "$(rm -rf /)"),
        ("A=$(rm -rf /)", None),
        ("A=`id`", None),
        ('A="$(id)"', None),
        ("A='unfinished", None),
        ("A=x; rm -rf /", "x"),
        ("if true; then A=x; fi", None),
        ("A=", ""),
    ],
)
def test_shell_assignments_are_read_without_a_shell(line: str, value: str | None) -> None:
    assert shell_assignments(f"B=b\n{line}\n").get("A") == value


def test_lego_is_read_with_wildcards_and_without_bundle(tmp_path: Path, issuer: Authority) -> None:
    lego_account(tmp_path)
    lego_certificate(tmp_path, "*.shop.test", issuer.issue("*.shop.test", "shop.test"))
    lego_certificate(tmp_path, "mail.test", issuer.issue("mail.test"), bundle=False)
    found = read("lego", tmp_path)
    assert found.problems == ()
    wildcard, single = found.lineages
    assert wildcard.name == "_.shop.test" and single.name == "mail.test"
    assert {f.path.name: f.content for f in wildcard.files} == {
        "_.shop.test.key": "privkey.pem",
        "_.shop.test.crt": "fullchain.pem",
        "_.shop.test.issuer.crt": "chain.pem",
    }
    assert {f.path.name: f.content for f in single.files}["mail.test.crt"] == "cert.pem"
    assert len(single.bundle.chain) == 2
    account = found.account_of(single)
    assert account is not None and account.uri == ACCOUNT


def test_lego_with_two_accounts_at_one_ca_does_not_guess(tmp_path: Path, issuer: Authority) -> None:
    lego_account(tmp_path)
    lego_account(tmp_path, "other@shop.test")
    lego_certificate(tmp_path, "shop.test", issuer.issue("shop.test"))
    found = read("lego", tmp_path)
    assert len(found.accounts) == 2 and found.account_of(found.lineages[0]) is None


@pytest.mark.parametrize(
    ("name", "folder"), [("ca@shop.test", ""), ("main", ""), ("main", "EC256")]
)
def test_account_of_lego_5_is_read(
    tmp_path: Path, issuer: Authority, name: str, folder: str
) -> None:
    lego_5_account(tmp_path, name, folder=folder)
    lego_certificate(tmp_path, "shop.test", issuer.issue("shop.test"))
    found = read("lego", tmp_path)
    assert found.problems == ()
    account = found.account_of(found.lineages[0])
    assert account is not None
    assert (account.id, account.uri) == (f"acme-v02.api.letsencrypt.org/{name}", ACCOUNT)
    assert (account.directory_url, account.contacts) == (SERVER, ("ca@shop.test",))


def test_dehydrated_is_read_with_aliases_and_configuration_of_a_certificate(
    tmp_path: Path, issuer: Authority
) -> None:
    base = tmp_path / "dehydrated"
    conf = tmp_path / "conf.d"
    write(conf / "local.sh", b'WELLKNOWN="/srv/acme"\nPREFERRED_CHAIN="ISRG Root X1"\n')
    dehydrated_base(base, more=f"CONFIG_D={conf}\nHOOK=${{BASEDIR}}/hook.sh\n")
    dehydrated_certificate(
        base, "shop.test www.shop.test", issuer.issue("shop.test", "www.shop.test")
    )
    star = dehydrated_certificate(base, "*.shop.test > Star_Shop", issuer.issue("*.shop.test"))
    star.rename(star.with_name("star_shop"))  # dehydrated reads domains.txt in lower case
    write(base / "certs/star_shop/config", b'CHALLENGETYPE="dns-01"\nPRIVATE_KEY_RENEW="no"\n')
    found = read("dehydrated", base)
    assert found.problems == ()
    shop, star_shop = found.lineages
    assert shop.name == "shop.test" and shop.authenticator == "http-01 in /srv/acme"
    assert shop.hooks == {"HOOK": f"{base}/hook.sh"} and shop.preferred_chain == "ISRG Root X1"
    assert star_shop.name == "star_shop" and star_shop.authenticator == "dns-01"
    assert star_shop.reuse_key and not shop.reuse_key
    assert [f.content for f in shop.files] == [f.path.name for f in shop.files]
    account = found.account_of(shop)
    assert account is not None and account.directory_url == SERVER and account.uri == ACCOUNT


def test_dehydrated_names_what_the_certificate_does_not_have_yet(
    tmp_path: Path, issuer: Authority
) -> None:
    dehydrated_base(tmp_path)
    dehydrated_certificate(tmp_path, "shop.test new.shop.test", issuer.issue("shop.test"))
    with (tmp_path / "domains.txt").open("a") as file:
        file.write("never.test\n")
    found = read("dehydrated", tmp_path)
    assert "new.shop.test" in found.lineages[0].remarks[0]
    assert [p.lineage for p in found.problems] == ["never.test"]
    assert "no certificate yet" in found.problems[0].reason


def test_export_of_win_acme_is_read_from_pem_and_pfx(tmp_path: Path, issuer: Authority) -> None:
    folder = tmp_path / "acme-v02.api.letsencrypt.org"
    win_acme_account(folder, ec.generate_private_key(ec.SECP256R1()))
    win_acme_renewal(folder, "one", ["shop.test", "www.shop.test"])
    win_acme_pem(tmp_path / "export", "shop.test", issuer.issue("shop.test", "www.shop.test"))
    issued = issuer.issue("iis.test")
    chain = [parse(c.public_bytes(Encoding.DER)) for c in issued.chain]
    pfx = build_pkcs12(
        load_pem_private_key(issued.key_pem, None), chain, alias="iis", password="secret"
    )
    write(tmp_path / "export" / "iis.pfx", pfx)
    thumb = hashlib.sha1(chain[0].der, usedforsecurity=False).hexdigest().upper()
    win_acme_renewal(folder, "two", ["x"], TargetPluginOptions={}, History=[{"Thumbprint": thumb}])
    win_acme_renewal(folder, "three", ["gone.test"])
    found = read("win-acme-export", tmp_path, "secret")
    by_name = {x.name: x for x in found.lineages}
    assert sorted(by_name) == ["iis.test", "shop.test"]
    assert all(x.bundle.key_pem and len(x.bundle.chain) == 2 for x in by_name.values())
    account = found.account_of(by_name["shop.test"])
    assert account is not None and account.uri == ACCOUNT
    assert [p.lineage for p in found.problems] == ["three"]
    wrong = read("win-acme-export", tmp_path, "wrong")
    assert any(p.path.name == "iis.pfx" for p in wrong.problems)


def test_encrypted_account_of_win_acme_is_a_problem_that_names_the_remedy(
    tmp_path: Path, issuer: Authority
) -> None:
    win_acme_account(tmp_path, ec.generate_private_key(ec.SECP256R1()), readable=False)
    win_acme_renewal(tmp_path, "one", ["shop.test"])
    win_acme_pem(tmp_path, "shop.test", issuer.issue("shop.test"))
    found = read("win-acme-export", tmp_path)
    assert found.account_of(found.lineages[0]) is None
    assert "encrypted" in found.problems[0].reason and "--account" in found.problems[0].reason


def test_directory_of_each_client_is_recognised_and_others_are_refused(
    tmp_path: Path, issuer: Authority
) -> None:
    (tmp_path / "certbot" / "renewal").mkdir(parents=True)
    acme_sh_account(tmp_path / "acme.sh")
    lego_account(tmp_path / "lego")
    lego_certificate(tmp_path / "lego", "shop.test", issuer.issue("shop.test"))
    dehydrated_base(tmp_path / "dehydrated")
    win_acme_renewal(tmp_path / "win-acme-export", "one", ["shop.test"])
    for client in CLIENTS:
        assert guess(tmp_path / client) == client
        if client == "certbot":  # which accepts a directory that has only accounts
            continue
        other = tmp_path / ("lego" if client != "lego" else "certbot")
        with pytest.raises(UsageError, match="is not"):
            read(client, other)
    with pytest.raises(UsageError, match="known client"):
        guess(tmp_path / "acme.sh" / "ca")


@pytest.mark.parametrize("client", ["acme.sh", "dehydrated"])
def test_moved_home_is_read_where_it_is_now_and_named(
    tmp_path: Path, issuer: Authority, client: str
) -> None:
    """The configuration still names the old one, in which the client finds nothing."""
    base, old = tmp_path / "home", tmp_path / "old"
    issued = issuer.issue("shop.test")
    if client == "acme.sh":
        acme_sh_account(base)
        acme_sh_certificate(base, "shop.test", issued)
        moved = f"CERT_HOME='{old}'\nACCOUNT_KEY_PATH='{old}/account.key'\n"
        configuration = base / "account.conf"
    else:
        dehydrated_base(base)
        dehydrated_certificate(base, "shop.test", issued)
        moved = f"BASEDIR={old}\nCERTDIR={old}/certs\n"
        configuration = base / "config"
    configuration.write_text(configuration.read_text() + moved)
    found = read(client, base)
    (lineage,) = found.lineages
    assert lineage.name == "shop.test" and found.account_of(lineage) is not None
    assert {p.path for p in found.problems} == {configuration}
    assert all("does not exist" in p.reason and not p.renewal for p in found.problems)


@pytest.mark.parametrize(
    ("name", "lineage"),
    [("2001:db8::10", "2001-db8--10"), ("192.0.2.10", "192.0.2.10"), ("intranet", "intranet")],
)
def test_certificate_of_acme_sh_for_an_address_or_an_internal_host_is_read(
    tmp_path: Path, issuer: Authority, name: str, lineage: str
) -> None:
    """Their folders were passed over without a word, since their names have no dot."""
    acme_sh_account(tmp_path)
    for folder in ("deploy", "dnsapi", "notify"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dns_cf.sh").write_text("")
    acme_sh_certificate(tmp_path, name, issuer.issue(name))
    found = read("acme.sh", tmp_path)
    assert [(x.name, x.names) for x in found.lineages] == [(lineage, (name,))]
    assert found.problems == ()


@pytest.mark.parametrize("client", ["acme.sh", "dehydrated"])
def test_folder_with_a_u_label_is_the_lineage_of_its_a_label(
    tmp_path: Path, issuer: Authority, client: str
) -> None:
    name, issued = "xn--mnchen-3ya.test", issuer.issue("xn--mnchen-3ya.test")
    if client == "acme.sh":
        acme_sh_account(tmp_path)
        acme_sh_certificate(tmp_path, "münchen.test", issued)
        acme_sh_certificate(tmp_path, "münchen.test", issued, suffix="")
    else:
        dehydrated_base(tmp_path)
        dehydrated_certificate(tmp_path, "münchen.test", issued)
        dehydrated_certificate(tmp_path, "other.test", issuer.issue("other.test"))
    found = read(client, tmp_path)
    assert found.problems == ()
    assert name in {x.name for x in found.lineages}
    if client == "acme.sh":
        assert {x.name for x in found.lineages} == {name, f"{name}_ecc"}
        return
    # The line of this certificate alone is hidden from its client, and comes back.
    lines = (tmp_path / "domains.txt").read_text()
    lineage = next(x for x in found.lineages if x.name == name)
    source_of(client).hide(lineage.configuration, name)
    left = read(client, tmp_path)
    assert [x.name for x in left.lineages] == ["other.test"]
    source_of(client).show(lineage.configuration, name)
    assert (tmp_path / "domains.txt").read_text() == lines


def test_certificates_of_lego_without_its_accounts_are_read(
    tmp_path: Path, issuer: Authority
) -> None:
    lego_certificate(tmp_path, "shop.test", issuer.issue("shop.test"))
    found = read("lego", tmp_path)
    assert [x.name for x in found.lineages] == ["shop.test"]
    assert found.account_of(found.lineages[0]) is None
    assert "--account" in found.problems[0].reason
