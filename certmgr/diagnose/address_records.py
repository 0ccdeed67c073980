"""Instructions about the address records of a host that lead to a wrong server. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from inventory.names import display
from notifiers.wording import diagnose as words
from notifiers.wording.catalogue import Language


def kind_of(address: str) -> str:
    """Return the type of the record that holds an address: A, or AAAA for IPv6."""
    return "AAAA" if ":" in address else "A"


def listed(addresses: Sequence[str]) -> str:
    """Return the addresses as text. Of many, the first ones and the number of the others."""
    text = ", ".join(addresses[: words.MAX_RECORDS])
    more = len(addresses) - words.MAX_RECORDS
    return f"{text} (+{more})" if more > 0 else text


def delete_all(host: str, addresses: Sequence[str], language: Language) -> str:
    """Return the instruction to delete the records of all these addresses."""
    return " ".join(_bounded([_delete(host, a, language) for a in addresses], host, language))


def lead_to(host: str, wrong: Sequence[str], own: Sequence[str], language: Language) -> str:
    """Return the instruction that makes a host lead to its own server, and to no other.

    Args:
        host: The name in A-labels.
        wrong: All addresses of its records. None of them is of the own server.
        own: The addresses of the own server.
    """
    first: dict[str, str] = {}
    for address in own:
        first.setdefault(kind_of(address), address)
    replaced: set[str] = set()
    texts = []
    # IPv4 first, which each visitor can use.
    for address in sorted(wrong, key=kind_of):
        kind = kind_of(address)
        # One record of a kind is changed. Any other would lead visitors to the wrong server still,
        # and so would the record of a kind of which the server has no address.
        if kind in replaced or kind not in first:
            texts.append(_delete(host, address, language))
            continue
        replaced.add(kind)
        change = language(words.CHANGE_RECORD)
        texts.append(change.format(kind=kind, host=display(host), old=address, new=first[kind]))
    texts = _bounded(texts, host, language)
    # After the deletion the host would have no record at all.
    if not replaced and first:
        kind = min(first)
        create = language(words.CREATE_RECORD)
        texts.insert(0, create.format(kind=kind, host=display(host), address=first[kind]))
    return " ".join(texts)


def _delete(host: str, address: str, language: Language) -> str:
    return language(words.DELETE_RECORD).format(
        kind=kind_of(address), address=address, host=display(host)
    )


def _bounded(texts: Sequence[str], host: str, language: Language) -> list[str]:
    """Return the first instructions, and the number of the others in a sentence."""
    more = len(texts) - words.MAX_RECORDS
    if more <= 0:
        return list(texts)
    sentence = language(words.MORE_RECORDS).format(count=more, host=display(host))
    return [*texts[: words.MAX_RECORDS], sentence]
