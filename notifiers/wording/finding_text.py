"""The shape of the texts of a finding."""

from typing import NamedTuple


class FindingText(NamedTuple):
    """The texts of a finding code.

    Attributes:
        short: What is wrong, in a few words.
        sentence: One plain sentence for a client.
        instruction: An exact instruction for the person who acts.
    """

    short: str
    sentence: str
    instruction: str
