"""Checks before a lineage is created."""

from __future__ import annotations

import pytest

from inventory.errors import UsageError
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.servers.pebble import Pebble


def test_wildcard_by_http_is_refused_before_the_order(env: AcmeEnvironment, ca: Pebble) -> None:
    from certmgr.acme.arrange import IssueRequest, arrange

    before = ca.order_count()
    with pytest.raises(UsageError, match="needs dns-01"):
        arrange(env.context, IssueRequest(("*.shop.test",)))
    assert ca.order_count() == before
