"""Public holidays of countries and their subdivisions (ISO 3166).

The holidays library is large, so it is imported on first use.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache


def is_known_country(country: str) -> bool:
    """Return whether holidays are known for a country or subdivision, such as DE or DE-BY."""
    import holidays

    code, _, subdivision = country.partition("-")
    countries = holidays.list_supported_countries()
    return code in countries and (not subdivision or subdivision in countries[code])


@lru_cache(maxsize=64)
def holidays_of(country: str, year: int) -> frozenset[date]:
    """Return the public holidays of a year.

    The result is empty without a country, and for a country that the library no longer has.
    """
    # An unknown country has no holidays, rather than stopping all notices.
    if not country or not is_known_country(country):
        return frozenset()
    import holidays

    code, _, subdivision = country.partition("-")
    return frozenset(holidays.country_holidays(code, subdiv=subdivision or None, years=year))
