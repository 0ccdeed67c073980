"""Messages of ACME that the library lacks."""

from __future__ import annotations

from typing import Any

from acme import challenges, messages
from josepy.json_util import field
from josepy.jwk import JWK

# RFC 8555 7.1.4 has this status, the library lacks it.
STATUS_EXPIRED = messages.Status("expired")


class NewOrder(messages.NewOrder):  # type: ignore[misc, unused-ignore]
    """A newOrder request that can name the certificate it replaces (RFC 9773 5)."""

    replaces: str | None = field("replaces", omitempty=True)


@challenges.Challenge.register
class TLSALPN01(challenges.KeyAuthorizationChallenge):
    """The tls-alpn-01 challenge (RFC 8737), which the library removed in 5.0."""

    response_cls = challenges.HTTP01Response
    typ = "tls-alpn-01"

    def validation(self, account_key: JWK, **_: Any) -> str:
        """Return the key authorization, whose SHA-256 is part of the response certificate."""
        return self.key_authorization(account_key)


class ChallengeResponse(challenges.ChallengeResponse):
    """The empty response ``{}``: the client is ready for validation (RFC 8555 7.5.1)."""

    typ = ""

    # The library would send a POST-as-GET for a false payload.
    def __bool__(self) -> bool:
        return True

    def to_partial_json(self) -> dict[str, Any]:
        return {}
