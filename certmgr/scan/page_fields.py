"""Fields that ask for a payment card, by their name or their autocomplete attribute. Pure."""

from __future__ import annotations

import re

# Field names for payment cards in shops. A field matches if its name, without separators and
# digits, ends with one of these, or if it contains one of the short words below.
_CARD_ENDS = (
    "cardnumber",
    "cardno",
    "cardnum",
    "ccnumber",
    "ccnum",
    "ccno",
    "creditcard",
    "creditcardnumber",
    "creditcardno",
    "ccname",
    "cardholder",
    "cardholdername",
    "cardexpiry",
    "ccexp",
    "cccvv",
    "cccvc",
    "cccsc",
    "cccid",
    "cardcvc",
    "cardcvv",
    "cardcsc",
    "cvvcode",
    "cvccode",
    "kartennummer",
    "kreditkarte",
    "kreditkartennummer",
    "kartenprüfnummer",
    "kartenpruefnummer",
)
_CARD_WORDS = frozenset({"cvv", "cvc", "csc", "cvv2", "cvc2"})
# Cards that are not payment cards.
_OTHER_CARDS = ("gift", "loyalty", "member", "library", "kunden", "bonus", "geschenk", "sim")


def autocompletes_card(attributes: dict[str, str]) -> bool:
    """Return whether an autocomplete token is cc-*.

    Section and billing tokens may precede it (HTML standard 4.10.18.7.1).
    """
    return any(
        token.startswith("cc-") for token in attributes.get("autocomplete", "").lower().split()
    )


def is_card_field(attributes: dict[str, str]) -> bool:
    """Return whether a field asks for a payment card, by autocomplete or a well-known name."""
    if autocompletes_card(attributes):
        return True
    for text in (attributes.get("name", ""), attributes.get("id", "")):
        words = re.findall(r"[a-zäöüß]+[0-9]*", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
        joined = re.sub(r"[0-9]", "", "".join(words))
        # Gift and loyalty cards have similar field names.
        if any(other in joined for other in _OTHER_CARDS):
            continue
        if joined.endswith(_CARD_ENDS) or _CARD_WORDS & set(words):
            return True
    return False
