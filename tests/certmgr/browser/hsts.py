"""Situations of HSTS: which headers Chromium remembers."""

from __future__ import annotations

from tests.certmgr.browser.serving import page, serves
from tests.certmgr.browser.situations import Group

GROUP = Group("hsts")
_NAME = "Strict-Transport-Security"

HEADERS: dict[str, tuple[str, ...]] = {
    "ordinary": (f"{_NAME}: max-age=31536000",),
    "absent": (),
    "with-subdomains": (f"{_NAME}: max-age=31536000; includeSubDomains; preload",),
    "age-zero": (f"{_NAME}: max-age=0",),
    "age-one-minute": (f"{_NAME}: max-age=60",),
    "age-quoted": (f'{_NAME}: max-age="31536000"',),
    "age-half-quoted": (f'{_NAME}: max-age="31536000',),
    "age-single-quoted": (f"{_NAME}: max-age='31536000'",),
    "age-missing": (f"{_NAME}: includeSubDomains",),
    "age-empty": (f"{_NAME}: max-age=",),
    "age-word": (f"{_NAME}: max-age=year",),
    "age-negative": (f"{_NAME}: max-age=-1",),
    "age-plus": (f"{_NAME}: max-age=+31536000",),
    "age-decimal": (f"{_NAME}: max-age=31536000.0",),
    "age-then-word": (f"{_NAME}: max-age=31536000 days",),
    "age-hexadecimal": (f"{_NAME}: max-age=0xffff",),
    "age-twice": (f"{_NAME}: max-age=31536000; max-age=31536000",),
    "age-without-equals": (f"{_NAME}: max-age 31536000",),
    "age-with-blanks": (f"{_NAME}:   max-age  =  31536000  ",),
    "age-with-colon": (f"{_NAME}: max-age: 31536000",),
    "age-of-30-digits": (f"{_NAME}: max-age=" + "9" * 30,),
    "age-in-capitals": (f"{_NAME}: MAX-AGE=31536000; INCLUDESUBDOMAINS",),
    "age-last": (f"{_NAME}: preload; includeSubDomains; max-age=31536000",),
    "header-empty": (f"{_NAME}:",),
    "header-in-capitals": ("STRICT-TRANSPORT-SECURITY: max-age=31536000",),
    "header-quoted": (f'{_NAME}: "max-age=31536000"',),
    "header-with-comma": (f"{_NAME}: max-age=31536000, includeSubDomains",),
    "header-twice-valid-first": (f"{_NAME}: max-age=31536000", f"{_NAME}: max-age=0"),
    "header-twice-zero-first": (f"{_NAME}: max-age=0", f"{_NAME}: max-age=31536000"),
    "header-twice-invalid-first": (f"{_NAME}: x", f"{_NAME}: max-age=31536000"),
    "header-with-semicolon-first": (f"{_NAME}: ;max-age=31536000",),
    "header-with-semicolons": (f"{_NAME}: max-age=31536000;;;includeSubDomains;",),
    "header-folded": (f"{_NAME}:\r\n max-age=31536000",),
    "header-with-unknown": (f"{_NAME}: max-age=31536000; x=y; z",),
    "header-with-unknown-quoted": (f'{_NAME}: max-age=31536000; x="y;z"',),
    "header-with-unknown-half-quoted": (f'{_NAME}: max-age=31536000; x="y',),
    "header-with-unknown-empty": (f"{_NAME}: max-age=31536000; x=",),
    "header-with-unknown-parenthesis": (f"{_NAME}: max-age=31536000; (x)",),
    "header-with-unknown-twice": (f"{_NAME}: max-age=31536000; x=1; x=2",),
    "header-with-not-ascii": (f"{_NAME}: max-age=31536000; ü",),
    "subdomains-twice": (f"{_NAME}: max-age=31536000; includeSubDomains; includeSubDomains",),
    "subdomains-with-value": (f"{_NAME}: max-age=31536000; includeSubDomains=true",),
    "subdomains-misspelt": (f"{_NAME}: max-age=31536000; includeSubDomain",),
    "preload-with-value": (f"{_NAME}: max-age=31536000; preload=yes",),
    "preload-twice": (f"{_NAME}: max-age=31536000; preload; preload",),
}
_ORDINARY = frozenset({"ordinary", "age-zero", "header-twice-valid-first", "subdomains-twice"})
for _name, _headers in HEADERS.items():
    GROUP.add(
        _name,
        serves(page("<h1>Hello</h1>", *_headers)),
        answer=page("<h1>Plain</h1>"),
        hsts=True,
        relative=_name not in _ORDINARY,
    )
_YEAR = f"{_NAME}: max-age=31536000"
for _status in ("404 Not Found", "500 Odd", "403 Forbidden", "401 Unauthorized", "600 Odd"):
    GROUP.add(
        f"status-{_status[:3]}",
        serves(page("x", _YEAR, status=_status)),
        answer=page("<h1>Plain</h1>"),
        hsts=True,
        relative=True,
    )
