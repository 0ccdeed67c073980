"""Situations of dates: those of leaf, intermediate and root, and how they are encoded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import ROOT, ca, days, leaf, trusts
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("dates")


def _add(name: str, begin: Any = None, end: Any = None) -> None:
    GROUP.add(name, lambda host: leaf(host, begin=begin, end=end))


def _utc(text: str) -> bytes:
    return tlv(0x17, text.encode())


_generalized = der.generalized_time

_add("expired-an-hour-ago", days(-30), days(-1 / 24))
_add("expired-three-days-ago", days(-93), days(-3))
_add("expired-a-year-ago", days(-800), days(-365))
_add("ends-in-an-hour", days(-30), days(1 / 24))
_add("begins-in-an-hour", days(1 / 24), days(90))
_add("begins-next-year", days(365), days(700))
_add("begun-an-hour-ago", days(-1 / 24), days(90))
_add("end-before-begin", days(9), days(-9))
_add("valid-for-ten-years", days(-400), days(3250))
_add("valid-for-no-time", days(-1), days(-1))
_add("end-9999", end=_generalized("99991231235959Z"))
_add("end-2049", end=_utc("491231235959Z"))
_add("end-2050", end=datetime(2050, 1, 1, tzinfo=UTC))
_add("end-3000", end=datetime(3000, 1, 1, tzinfo=UTC))
_add("begin-1950", begin=_utc("500101000000Z"))
_add("begin-1970", begin=_utc("700101000000Z"))
_add("begin-0001", begin=_generalized("00010101000000Z"))
_add("begin-generalized-before-2050", begin=_generalized(days(-1)))
_add("end-generalized-before-2050", end=_generalized(days(90)))
_add("expired-generalized", days(-90), _generalized(days(-2)))
_add("end-year-50-as-utc-time", end=_utc("500101000000Z"))
# Other malformed dates cannot be served: OpenSSL does not load them.
_text = days(90).strftime("%y%m%d%H%M")
_add("utc-time-with-offset", end=_utc(f"{_text}00+0100"))
_add("generalized-with-fraction", end=_generalized(f"20{_text}00.5Z"))
_add("generalized-with-comma", end=_generalized(f"20{_text}00,5Z"))
_add("generalized-with-offset", end=_generalized(f"20{_text}00+0100"))
_add("month-13", end=_utc("301301000000Z"))
_add("february-30", end=_utc("300230000000Z"))
_add("hour-24", end=_utc("301231240000Z"))
_add("second-60", end=_utc("301231235960Z"))


def _under(name: str, begin: Any, end: Any, leaf_begin: Any = None, leaf_end: Any = None) -> None:
    """Add a leaf under an intermediate with these dates."""
    GROUP.add(
        name,
        lambda host: leaf(
            host,
            issuer=ca(f"Issuer {name}", ROOT, begin=begin, end=end),
            begin=leaf_begin,
            end=leaf_end,
        ),
    )


_under("its-intermediate-expired", days(-900), days(-1))
_under("its-intermediate-and-leaf-expired", days(-900), days(-10), days(-90), days(-5))
_under("its-intermediate-begins-tomorrow", days(1), days(900))
_under("its-intermediate-end-9999", days(-1), _generalized("99991231235959Z"))
_under("leaf-began-before-intermediate", days(-1), days(900), days(-100), days(100))


def _root(name: str, begin: Any = None, end: Any = None) -> None:
    """Add a leaf under a private root with these dates."""

    def build(host: str) -> Trusted:
        root = ca(f"Root {name}", begin=begin, end=end)
        return Trusted(leaf(host, issuer=ca(f"Issuer below {name}", root)), trusts(root))

    GROUP.add(name, build)


_root("its-root-expired", days(-900), days(-5))
_root("its-root-begins-tomorrow", days(1), days(900))
_root("its-root-end-9999", days(-900), _generalized("99991231235959Z"))
_root("its-root-generalized-before-2050", _generalized(days(-900)), _generalized(days(900)))

# A second 60 is read, as the date may be that of a leap second.
_add("second-60-begin", begin=_utc("251231235960Z"))
_add("second-60-generalized", end=_generalized("20501231235960Z"))
_add("second-60-expired", begin=days(-400), end=_utc("251231235960Z"))
_add("second-61", end=_utc("301231235961Z"))
_add("minute-60", end=_utc("301231236000Z"))


def _second_60_under(name: str, **fields: Any) -> None:
    GROUP.add(
        f"second-60-{name}",
        lambda host: leaf(
            host, issuer=ca(f"Issuer {name}", ROOT, **fields), end=_utc("301231235960Z")
        ),
    )


_second_60_under("under-constraint", extensions={"x": der.name_constraints(["dates.test"])})
_second_60_under("against-constraint", extensions={"x": der.name_constraints(["example.com"])})
_second_60_under("under-no-ca", extensions={"basic": der.basic_constraints(False)})
_second_60_under("under-expired", begin=days(-900), end=days(-5))
