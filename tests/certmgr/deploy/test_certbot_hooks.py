"""Hooks of certbot that concern each lineage."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from certmgr.deploy.certbot import read_installation
from certmgr.deploy.certbot_hooks import common_hooks
from tests.certmgr.deploy.certbot_place import certbot_lineage


def script(path: Path, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(mode)


def test_only_files_that_certbot_runs_are_hooks(tmp_path: Path) -> None:
    hooks = tmp_path / "renewal-hooks"
    script(hooks / "deploy" / "20-mail")
    script(hooks / "deploy" / "10-nginx.sh")
    script(hooks / "deploy" / "10-nginx.sh~")
    script(hooks / "deploy" / "30-off.sh", 0o644)
    script(hooks / "post" / "README", 0o644)
    (hooks / "pre" / "folder").mkdir(parents=True)
    assert common_hooks(tmp_path) == {"renewal-hooks/deploy": "10-nginx.sh, 20-mail"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "# max-log-backups = 0\ndeploy-hook = systemctl reload postfix\nemail = a@shop.test\n",
            {"deploy-hook of cli.ini": "systemctl reload postfix", "renewal-hooks/post": "a"},
        ),
        (
            "\ufeffpre_hook='stop it'\r\nno-directory-hooks\r\n",
            {"pre-hook of cli.ini": "stop it"},
        ),
        ("no-directory-hooks = false\n", {"renewal-hooks/post": "a"}),
        ("", {"renewal-hooks/post": "a"}),
    ],
)
def test_options_of_the_installation_are_hooks(
    tmp_path: Path, text: str, expected: dict[str, str]
) -> None:
    script(tmp_path / "renewal-hooks" / "post" / "a")
    (tmp_path / "cli.ini").write_text(text)
    assert common_hooks(tmp_path) == expected


def test_lineage_names_all_that_no_longer_runs_after_a_takeover(
    tmp_path: Path, issuer: Authority
) -> None:
    more = "installer = nginx\nrenew_hook = systemctl reload dovecot\n"
    certbot_lineage(tmp_path, "shop.test", issuer.issue("shop.test"), more=more)
    script(tmp_path / "renewal-hooks" / "deploy" / "mail")
    (lineage,) = read_installation(tmp_path).lineages
    assert lineage.hooks == {
        "renew_hook": "systemctl reload dovecot",
        "installer": "nginx reloads the server",
        "renewal-hooks/deploy": "mail",
    }
