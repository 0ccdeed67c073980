"""Countries and parts of them (ISO 3166) whose holidays are known.

The holidays library is large: it is loaded when it is asked.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache


def known_country(country: str) -> bool:
    """Whether there are holidays of DE, or of DE-BY."""
    import holidays

    code, _, part = country.partition("-")
    known = holidays.list_supported_countries()
    return code in known and (not part or part in known[code])


@lru_cache(maxsize=64)
def holidays_of(country: str, year: int) -> frozenset[date]:
    """None where no country is said, or one that a later version of the library does not know any
    more.
    """
    if not country or not known_country(country):
        return frozenset()
    import holidays

    code, _, part = country.partition("-")
    return frozenset(holidays.country_holidays(code, subdiv=part or None, years=year))
