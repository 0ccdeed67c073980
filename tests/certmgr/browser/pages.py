"""Situations of pages: what a site is for, and what its pages load and send."""

from __future__ import annotations

from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import page, tls
from tests.certmgr.browser.situations import Group

GROUP = Group("pages")


# Hosts that are named for programs: only an empty answer of 4xx is their usual one.
for _status in ("404 Not Found", "405 Method Not Allowed", "502 Bad Gateway"):
    _name = f"program-empty-{_status[:3]}"
    GROUP.add(
        _name,
        lambda host, status=_status: tls(leaf(host), page("", status=status)),  # type: ignore[misc]
        host=f"api.{_name}.pages.test",
    )
