"""What may be ordered."""

from __future__ import annotations

import pytest

from inventory.errors import UsageError
from tests.certmgr.issuance.shop import Shop
from tests.servers.pebble import Pebble


def test_wildcard_by_http_is_refused_before_the_order(place: Shop, ca: Pebble) -> None:
    from certmgr.issuance.arrange import Wanted, arrange

    before = ca.order_count()
    with pytest.raises(UsageError, match="needs dns-01"):
        arrange(place.database, place.settings, Wanted(("*.shop.test",)))
    assert ca.order_count() == before
