"""The fields of a CA's documents that orders need, in the form that the ``acme`` library accepts.

Pure.

The library refuses a whole document because of one field, such as an unknown identifier type, a
null, or a date in another form. An order whose remaining fields are good then fails on every run.
Fields that nothing uses are left out, and so are challenges of other types that cannot be parsed.
Whatever this module does not understand is handed on unchanged, and the library refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acme import messages
from josepy.errors import DeserializationError

from inventory.names import as_ip

# RFC 8555 7.1.3 and 7.1.4. Dates are left out: the CA reports the end of an order as its status.
_ORDER = ("status", "identifiers", "authorizations", "finalize", "certificate", "error")
_AUTHORIZATION = ("status", "identifier", "challenges", "wildcard")
# An authorization has about three challenges. More are not parsed.
_MAX_CHALLENGES = 50
# What the library raises about a document of a wrong form.
_UNREADABLE = (DeserializationError, TypeError, ValueError, AttributeError, KeyError)


def order_fields(document: Any) -> Any:
    """Return the fields of an order that are used."""
    if not isinstance(document, Mapping):
        return document
    fields = _used(document, _ORDER)
    identifiers = fields.get("identifiers")
    if isinstance(identifiers, list):
        named = [_identifier(i) for i in identifiers]
        fields["identifiers"] = [i for i in named if _parses(messages.Identifier, i)]
    return fields


def authorization_fields(document: Any) -> Any:
    """Return the fields of an authorization that are used."""
    if not isinstance(document, Mapping):
        return document
    fields = _used(document, _AUTHORIZATION)
    if "identifier" in fields:
        fields["identifier"] = _identifier(fields["identifier"])
    if not isinstance(fields.get("wildcard", False), bool):
        del fields["wildcard"]
    challenges = fields.get("challenges")
    if isinstance(challenges, list):
        cleaned = [_challenge(c) for c in challenges[:_MAX_CHALLENGES]]
        # A challenge that this version does not know is no reason to refuse the others.
        fields["challenges"] = [c for c in cleaned if _parses(messages.ChallengeBody, c)]
    return fields


def identifier_name(value: str) -> str:
    """Return the name of an identifier as orders have it.

    RFC 8738 wants the shortest form of an address, and RFC 8555 lower case. CAs send the long form,
    brackets, capitals and the last dot of a name too.
    """
    bare = value.strip().removesuffix(".").lower()
    address = as_ip(bare)
    return bare if address is None else str(address)


def _identifier(document: Any) -> Any:
    if not isinstance(document, Mapping) or not isinstance(document.get("value"), str):
        return document
    return {**document, "value": identifier_name(document["value"])}


def _challenge(document: Any) -> Any:
    if not isinstance(document, Mapping):
        return document
    # The date of the validation is not used.
    return _used(document, [key for key in document if key != "validated"])


def _used(document: Mapping[str, Any], keys: Any) -> dict[str, Any]:
    """Return fields without null ones, with a status in lower case and an error that parses."""
    fields = {key: document[key] for key in keys if document.get(key) is not None}
    status = fields.get("status")
    if isinstance(status, str):
        fields["status"] = status.strip().lower()
    if "error" in fields and not _parses(messages.Error, fields["error"]):
        # The type and the description are what a reader needs.
        error = fields.pop("error")
        if isinstance(error, Mapping):
            fields["error"] = {
                k: error[k] for k in ("type", "detail", "title") if isinstance(error.get(k), str)
            }
    return fields


def _parses(kind: Any, document: Any) -> bool:
    try:
        kind.from_json(document)
    except _UNREADABLE:
        return False
    return True
