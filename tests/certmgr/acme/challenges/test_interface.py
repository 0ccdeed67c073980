"""Tokens of a CA."""

from __future__ import annotations

import pytest

from certmgr.acme.challenges.interface import challenge_proof
from inventory.errors import CertmgrError


@pytest.mark.parametrize(
    "token", ["../../etc/cron.d/x", "a/b", "", "a b", "x" * 300, None, 5, "a\n", "ä"]
)
def test_token_that_is_not_base64url_is_refused(token: object) -> None:
    with pytest.raises(CertmgrError, match="token"):
        challenge_proof("shop.test", token, "thumb")
