"""``certmgr trust``, and the ends of trust in the other commands."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certmgr.x509.trust_data import built_in
from certmgr.x509.trust_rules import spki_sha256
from inventory.certificates import parse
from inventory.clock import Clock
from tests import program
from tests.certmgr.trusted_sites import NOW, TrustedCas, write_sites
from tests.certmgr.x509.test_ccadb import A, report, row
from tests.databases import open_sqlite
from tests.program import Ran

Runner = Callable[..., Ran]


def fixed() -> datetime:
    return NOW


@pytest.fixture(scope="module")
def cas() -> TrustedCas:
    return TrustedCas()


@pytest.fixture
def cli(tmp_path: Path, cas: TrustedCas) -> Iterator[Runner]:
    """Run the program on a fixed day, with the roots of the test as those of browsers."""
    (tmp_path / "certmgr.toml").write_text(f'[trust]\nrules = "{tmp_path / "rules.json"}"\n')
    options = ("--config", str(tmp_path / "certmgr.toml"), "--database", str(tmp_path / "cli.db"))

    def call(*arguments: str, clock: Clock = fixed) -> Ran:
        return program.run((*options, *arguments), clock)

    with cas.as_browsers(tmp_path):
        yield call


@pytest.fixture
def fleet(cli: Runner, cas: TrustedCas, tmp_path: Path) -> Runner:
    """The same, with sites of each CA whose certificates end in about 250 days."""
    open_sqlite(tmp_path / "cli.db", clock=fixed).close()
    assert cli("client", "add", "1001", "Example Ltd", "--renews", "client").code == 0
    rules = cas.write_rules(tmp_path / "new.json")
    assert cli("trust", "update", str(rules)).code == 0
    opened = open_sqlite(tmp_path / "cli.db", clock=fixed)
    write_sites(opened, cas, 7 * 36, "1001")
    opened.close()
    return cli


def test_show_gives_version_age_and_the_next_dates(cli: Runner) -> None:
    shown = cli("trust", "show")
    assert shown.code == 0
    assert "2026-11-27" in shown.out
    assert "built-in" in shown.out
    assert "2027-04-15 (approximate)" in shown.out


def test_shown_document_can_be_installed(cli: Runner, tmp_path: Path) -> None:
    (tmp_path / "copy.json").write_text(cli("trust", "show", "--format", "json").out)
    update = cli("trust", "update", str(tmp_path / "copy.json"), "--format", "json")
    assert update.code == 0, update.err
    assert (update.json["added"], update.json["dropped"]) == ([], [])


def test_one_rule_is_shown_and_an_unknown_one_refused(cli: Runner) -> None:
    shown = cli("trust", "show", "chrome-entrust", "--format", "json")
    assert shown.json["at"] == "2024-11-11T23:59:59Z"
    unknown = cli("trust", "show", "nothing")
    assert unknown.code == 2
    assert "certmgr trust list" in unknown.err


@pytest.mark.parametrize(
    ("options", "some", "none"),
    [
        (("--browser", "mozilla"), "mozilla-buypass", "chrome-entrust"),
        (("--ca", "digicert"), "chrome-digicert-2026", "mozilla-buypass"),
        (
            (
                "--certificate",
                "55:2F:7B:DC:F1:A7:AF:9E:6C:E6:72:01:7F:4F:12:AB:"
                "F7:72:40:C7:8E:76:1A:C2:03:D1:D9:D2:0A:C8:99:88",
            ),
            "mozilla-digicert-g4",
            "mozilla-buypass",
        ),
    ],
)
def test_list_is_filtered(cli: Runner, options: tuple[str, ...], some: str, none: str) -> None:
    names = [r["name"] for r in cli("trust", "list", *options, "--format", "json").json["rules"]]
    assert some in names
    assert none not in names


def test_dry_run_and_invalid_file_replace_nothing_and_reset_goes_back(
    cli: Runner, tmp_path: Path, cas: TrustedCas
) -> None:
    new = str(cas.write_rules(tmp_path / "new.json"))
    dry = cli("trust", "update", new, "--dry-run")
    assert (dry.code, (tmp_path / "rules.json").exists()) == (0, False)
    assert "would be replaced" in dry.out
    (tmp_path / "bad.toml").write_text("schema = 1")
    bad = cli("trust", "update", str(tmp_path / "bad.toml"))
    assert bad.code == 2
    assert "bad.toml is not a file of trust rules" in bad.err
    assert not (tmp_path / "rules.json").exists()
    assert cli("trust", "update", new).code == 0
    assert "test-1" in cli("trust", "show").out
    assert cli("trust", "reset").code == 0
    assert built_in().version in cli("trust", "show").out


def test_report_of_the_ccadb_is_installed(cli: Runner, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text(report(row(**{"Google Chrome Status": "Removed"})))
    done = cli("trust", "update", str(path), "--format", "json")
    assert done.code == 0, done.err
    assert (done.json["kind"], done.json["roots"]) == ("AllIncludedRootCertsCSV", 1)
    listed = cli("trust", "list", "--certificate", A, "--format", "json").json["rules"]
    assert {(tuple(r["browsers"]), r["kind"]) for r in listed} == {
        (("chrome",), "removed"),
        (("mozilla",), "included"),
    }


@pytest.mark.usefixtures("root_servers")
@pytest.mark.parametrize(("days", "state"), [(80, "ok"), (95, "warning")])
def test_doctor_shows_the_age(cli: Runner, days: int, state: str) -> None:
    def later() -> datetime:
        return datetime(2026, 11, 27, tzinfo=UTC) + timedelta(days=days)

    checks = cli("doctor", "--format", "json", clock=later).json["doctor"]
    (found,) = [c for c in checks if c["check"] == "trust rules"]
    assert found["state"] == state
    assert f"{days} day(s) old" in found["what"]


def test_ends_lists_what_dies_early_and_nothing_else(fleet: Runner) -> None:
    assert "No certificate loses" in fleet("trust", "ends", "--within", "90").out
    ends = fleet("trust", "ends", "--within", "400", "--format", "json").json["ends"]
    assert ends
    kinds = {int(e["target"].removeprefix("site").partition(".")[0]) % 7 for e in ends}
    assert kinds == {0, 4}, "the old root, and the removed one"
    removed = [e for e in ends if "removed" in e["detail"]]
    assert {e["mozilla"] for e in removed} == {"2027-03-01"}
    assert all(e["chrome"] > "2027-03-01" for e in removed), "Chrome trusts it to its end"


def test_domain_page_status_report_and_forecast_show_the_dates(fleet: Runner) -> None:
    rows = fleet("trust", "ends", "--within", "400", "--format", "json").json["ends"]
    sunset = next(e for e in rows if "age of the root" in e["detail"])
    host = sunset["target"].partition(":")[0]
    page = fleet("domain", "show", host)
    assert "trusted until: Chrome 2027-04-15, Firefox 2027-04-15 (rules test-1)" in page.out
    assert "approximate" in page.out
    until = fleet("domain", "show", host, "--format", "json").json["endpoints"][0]
    assert until["observations"][0]["trusted_until"]["chrome"]["state"] == "ends"
    assert until["observations"][0]["trusted_until"]["rules"] == "test-1"

    status = fleet("status", "--all", "--format", "json").json["endpoints"]
    by_host = {e["target"].partition(":")[0]: e for e in status}
    assert by_host[host]["trusted_until"]["mozilla"]["at"] == "2027-04-15T00:00:00Z"
    assert by_host["site2.example"]["trusted_until"]["mozilla"]["state"] == "trusted"
    assert by_host["site6.example"]["trusted_until"] is None, "a private CA"
    table = fleet("status", "--all", "--limit", "500").out
    assert "TRUSTED" in table.splitlines()[0]
    assert "Chrome until 2027-04-15 (approximate): age of the root's key" in table

    text = fleet("report", "--client", "1001", "--format", "json")
    sites = {s["name"]: s for s in text.json["sites"]}
    assert sites[host]["trusted_until"]["chrome"]["rule"] == "sunset"
    assert any("only until about 15 April 2027" in f for f in sites[host]["facts"])

    ahead = fleet("forecast", "--until", "2027-12-31", "--format", "json").json
    assert {e["target"] for e in ahead["trust_ends"]} == {e["target"] for e in rows}
    assert "lose the trust of a browser" in fleet("forecast", "--until", "2027-12-31").out


def opened(cli: Runner, path: Path, *options: str) -> Ran:
    until = ("--until", "2026-12-01T12:00", "--reason", "the key of a CA was stolen")
    return cli("incident", "open", "--spki", str(path), *until, *options)


@pytest.mark.parametrize("form", ["hex", "pin", "certificate", "key"])
def test_stolen_key_of_an_issuer_opens_an_incident_for_what_depends_on_it(
    fleet: Runner, cas: TrustedCas, tmp_path: Path, form: str
) -> None:
    issuer = cas.cas[3].issuer  # of "double", which has two certificates of one key
    key = spki_sha256(parse(issuer.der))
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = {
        "hex": f"spki,reason\n{key},stolen\n",
        "pin": f"# pins\nsha256/{base64.b64encode(bytes.fromhex(key)).decode()}\n",
        "certificate": issuer.pem.decode(),
        "key": public.decode(),
    }[form]
    (tmp_path / "keys.txt").write_text(text)
    result = opened(fleet, tmp_path / "keys.txt", "--dry-run", "--format", "json")
    assert result.code == 0, result.err
    names = {n for i in result.json["items"] for n in i["names"]}
    assert names == {f"site{i}.example" for i in range(3, 7 * 36, 7)}


def test_stolen_key_of_a_root_spares_what_has_another_path(
    fleet: Runner, cas: TrustedCas, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(spki_sha256(parse(cas.roots[0].der)) + "\n")  # the old root
    result = opened(fleet, keys, "--format", "json")
    assert result.code == 0, result.err
    assert "have another path" in result.err
    reference = result.json["reference"]
    shown = fleet("incident", "show", reference, "--format", "json").json
    assert shown["kind"] == "spki"
    names = {n for i in shown["items"] for n in i["names"]}
    assert names == {f"site{i}.example" for i in range(0, 7 * 36, 7)}


def test_stolen_key_of_a_private_root_is_found_too(
    fleet: Runner, cas: TrustedCas, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(spki_sha256(parse(cas.cas[6].issuer.der)) + "\nnonsense\n" + "ab" * 32 + "\n")
    result = opened(fleet, keys, "--format", "json")
    assert result.code == 3, "a line was skipped"
    assert "line 2: 'nonsense' is not a public key" in result.err
    assert f"no served certificate depends on the key {'ab' * 32}" in result.err
    assert result.json["counts"]["client"] == 36


def test_key_that_nothing_depends_on_opens_nothing(fleet: Runner, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("ab" * 32)
    result = opened(fleet, tmp_path / "keys.txt")
    assert result.code == 2
    assert "No certificate is affected" in result.err
    (tmp_path / "keys.txt").write_text("\n")
    assert "has no public key" in opened(fleet, tmp_path / "keys.txt").err
    assert json.loads(fleet("incident", "list", "--format", "json").out)["incidents"] == []
