"""The output of ``certmgr diagnose``."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.clock import Clock
from inventory.store import contacts
from tests.certmgr.diagnose.demonstration import Demo, Run, call
from tests.certmgr.diagnose.probed_site import HOST
from tests.program import run
from tests.servers.ports import free_port


def test_message_is_in_the_language_of_the_client(certmgr: Run, demo: Demo) -> None:
    (site,) = [s for s in demo.sites.sites if s.host == "booking.hotel-seeblick.test"]
    url = f"https://{site.host}:{site.port}/"
    english = call(certmgr, demo, "diagnose", url, "--message").out
    assert english.startswith("Hello Owner of Hotel Seeblick,")
    assert "never a key" in english
    with demo.database.write() as tx:
        contacts.edit(tx, "Owner of Hotel Seeblick", {"language": "de"})
    try:
        german = call(certmgr, demo, "diagnose", url, "--message").out
    finally:
        with demo.database.write() as tx:
            contacts.edit(tx, "Owner of Hotel Seeblick", {"language": "en"})
    assert german.startswith("Guten Tag Owner of Hotel Seeblick,")
    assert "Sie müssen handeln" in german
    assert "niemals einen Schlüssel" in german


def test_text_shows_client_findings_outcome_and_message(certmgr: Run, demo: Demo) -> None:
    (site,) = [s for s in demo.sites.sites if s.host == "rosen.blumen-meier.test"]
    out = call(certmgr, demo, "diagnose", f"https://{site.host}:{site.port}/").out
    for word in (
        "client 1001 Blumen Meier",
        "account manager Jo",
        "open: certificate-expired since",
        "OUTCOME",
        "message to the client",
        "for level 2",
    ):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("ftp://shop.example.test/",), "not a web address"),
        (("https://",), "empty"),
        (("https://a b/",), "not a domain name"),
        (("https://shop.example.test:99999/",), "not a web address"),
        (("https://shop.example.test/", "--language", "fr"), "no language"),
        (("https://shop.example.test/", "--visitor-clock", "noon"), "is not a date"),
        (("https://[::1/",), "not a web address"),
        (("https://127.0.0.1:0/",), "port 0"),
    ],
)
def test_invalid_options_print_one_line(
    certmgr: Run, arguments: tuple[str, ...], reason: str
) -> None:
    done = certmgr("diagnose", *arguments)
    assert done.code == 2, done.err
    assert reason in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_host_that_is_not_in_the_inventory_suggests_similar_ones(
    certmgr: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTMGR_SCAN_RESOLVERS", "127.0.0.1:9")
    certmgr("client", "add", "7", "Rosen")
    certmgr("domain", "add", "hotel-schaefer.example", "--client", "7")
    ran = certmgr("diagnose", "hotel-schaefer.exmaple", "--timeout", "0.2")
    assert "similar: hotel-schaefer.example" in ran.out
    assert "hotel-schaefer.example" not in ran.out.split("--- message")[1]


def test_diagnosis_creates_no_database(clock: Clock, tmp_path: Path) -> None:
    config, path, port = tmp_path / "certmgr.toml", tmp_path / "missing.db", free_port()
    config.write_text("")
    options = ("--config", str(config), "--database", str(path))
    site = ("--resolve", f"{HOST}:{port}:127.0.0.1", "--http-port", str(free_port()))
    done = run((*options, "diagnose", f"https://{HOST}:{port}/", *site), clock)
    assert "not in the inventory" in done.out, done.err
    assert not path.exists()
