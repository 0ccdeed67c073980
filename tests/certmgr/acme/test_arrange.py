"""What may be ordered."""

from __future__ import annotations

import pytest

from inventory.errors import UsageError
from tests.certmgr.acme.shop import Shop
from tests.servers.pebble import Pebble


def test_wildcard_by_http_is_refused_before_the_order(place: Shop, ca: Pebble) -> None:
    from certmgr.acme.arrange import IssueRequest, arrange

    before = ca.order_count()
    with pytest.raises(UsageError, match="needs dns-01"):
        arrange(place.database, place.settings, IssueRequest(("*.shop.test",)))
    assert ca.order_count() == before
