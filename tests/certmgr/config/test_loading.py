"""Configuration: invalid files and variables are refused with a one-line message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.config.loading import load
from inventory.errors import ConfigError
from tests.certmgr.cli.refusals import assert_refused
from tests.program import Ran

Runner = Callable[..., Ran]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[scan]\ntimout = 3\n", "Did you mean 'timeout'"),
        ("[scna]\n", "Did you mean 'scan'"),
        ("[scan\n", "not TOML"),
        ("# a\n[provider]\nname = \u201cHost\u201d\n", "line 3 has the sign"),
        ("[provider]\nname\u00a0= 'Host'\n", "line 2 has the sign"),
        # In a value and in a comment they are text.
        ("[provider]\nname = '\u201cHost\u201d'  # \u201d\ntimout = 1\n", "unknown key 'timout'"),
        ("[scan]\ntimeout = 'x'\n", "it must be a number"),
        ("[scan]\ntimeout = -1\n", "above 0"),
        ("timeout = 1\n", "unknown section"),
        ("[network]\nallow = ['300.0.0.0/8']\n", "not a network"),
        ("[scan]\nehlo_name = 'a b'\n", "Write scan.example.com"),
        ('[scan]\nehlo_name = "scan.example.com\\r\\nMAIL FROM:<>"\n', "Write scan.example.com"),
        ("[scan]\nehlo_name = '[192.0.2]'\n", "[192.0.2.1]"),
        ("[provider]\ntime_zone = 'Mars/Base'\n", "Europe/Berlin"),
        ("[zones]\nfra1 = 'x'\n", "Write [zones.NAME] above it"),
        ("[zones.fra1]\nresolver = []\n", "Did you mean 'resolvers'"),
        ("[zones.fra1]\nfamilies = ['5']\n", "[zones.fra1] families has '5'"),
        ("[zones.fra1]\nresolvers = ['ns.example']\n", "a resolver must be an IP address"),
        ("[zones.fra1]\nsources = ['192.0.2.1', '192.0.2.2']\n", "two addresses of one IP version"),
        ("[zones.Paris]\n", "no zone can have"),
        ("[zones.default]\n", "'default' is the machine itself"),
        ("[scan]\nfamilies = []\n", "no address could be visited"),
        ("[workers]\nzone_minutes = -1\n", "zone_minutes is -1"),
    ],
)
def test_invalid_file_is_refused_with_a_hint(
    certmgr: Runner,
    tmp_path: Path,
    text: str,
    words: str,
) -> None:
    (tmp_path / "bad.toml").write_text(text)
    ran = certmgr("--config", str(tmp_path / "bad.toml"), "scan", "127.0.0.1")
    assert_refused(ran, 2, words)


def test_invalid_variable_or_missing_file_is_refused(certmgr: Runner) -> None:
    def scan(**environment: str) -> Ran:
        return certmgr("scan", "127.0.0.1", environment=environment)

    assert_refused(scan(CERTMGR_SCAN_TIMOUT="1"), 2, "Did you mean 'timeout'")
    assert_refused(scan(CERTMGR_SCAN_TIMEOUT="soon"), 2, "must be a number")
    ran = certmgr("--config", "/nowhere.toml", "scan", "127.0.0.1")
    assert_refused(ran, 2, "cannot be read")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_file_of_an_editor_of_windows_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes("[provider]\r\nname = 'Hést'\r\n".encode(encoding))
    path.chmod(0o600)
    assert load(str(path), {}).provider.name == "Hést"


def test_file_in_an_old_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"# a\n[provider]\nname = 'H\xe9st'\n")
    with pytest.raises(ConfigError, match=r"line 3 .* another encoding"):
        load(str(path), {})
