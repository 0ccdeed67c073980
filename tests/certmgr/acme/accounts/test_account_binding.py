"""Keys of external account bindings, as they are copied."""

from __future__ import annotations

import pytest

from certmgr.acme.accounts.account_binding import hmac_key

KEY = "AbCd-_AbCdAbCdAbCdAbCdAb"


@pytest.mark.parametrize(
    "text",
    [
        f"\u201c{KEY}\u201d",
        f"`{KEY}`",
        f"\ufeff{KEY}\u200b\u00a0\r\n",
        KEY.replace("-", "\u2013"),
        KEY.replace("-", "+").replace("_", "/"),
    ],
)
def test_copied_key_is_read(text: str) -> None:
    assert hmac_key(text) == KEY
