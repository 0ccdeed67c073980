"""What the pages of an endpoint contained in its last scan, by the bytes that were read.

To parse a page costs more than to request it, and most pages do not change between two scans. What
a page contains depends on nothing but its bytes, its headers, its URL and the reader; a digest of
all of them is the key. A known page is therefore what the parser would return.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from hashlib import blake2b
from importlib.metadata import version
from typing import Any

from certmgr.scan.code_version import code_version
from certmgr.scan.visits import Page

# A page that would take more is parsed in each scan: the table of endpoints must stay small, and it
# is the site that decides how much its pages contain.
MAX_PAGE = 600
MAX_TEXT = 2_000
_LISTS = frozenset(f.name for f in fields(Page) if isinstance(f.default, tuple))
_DEFAULTS = {f.name: f.default for f in fields(Page)}


@lru_cache(maxsize=1)
def _reader() -> bytes:
    # With another version of the reader or of the parser, each page is parsed again.
    return f"{code_version('certmgr.scan', 'inventory')} {version('selectolax')}".encode()


def page_key(
    body: bytes, content_type: str | None, url: str, policies: tuple[str, ...], *, nosniff: bool
) -> str:
    """Return a key that is equal for two answers from which the parser reads the same page."""
    # A site chooses its bytes. With 128 bits it cannot find two pages with the same key.
    digest = blake2b(repr((content_type, url, policies, nosniff)).encode(), digest_size=16)
    digest.update(_reader())
    digest.update(body)
    return digest.hexdigest()


@dataclass(slots=True)
class KnownPages:
    """The pages of one endpoint: those of its last scan, and those of this one."""

    _before: Mapping[str, Any] = field(default_factory=dict)
    _now: dict[str, Page] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> KnownPages:
        """Return the pages of the text that :meth:`text` returned; none if it is empty."""
        return cls(json.loads(text)) if text else cls()

    def get(self, key: str) -> Page | None:
        """Return a page that is known, which this scan has met too."""
        if (page := self._now.get(key)) is not None:
            return page
        if (values := self._before.get(key)) is None:
            return None
        facts: dict[str, Any] = {k: tuple(v) if k in _LISTS else v for k, v in values.items()}
        self._now[key] = page = Page(**facts)
        return page

    def keep(self, key: str, page: Page) -> None:
        """Keep a page that was parsed.

        One that was not read completely is parsed again, because it may be read the next time.
        """
        if not page.unread:
            self._now[key] = page

    def text(self) -> str:
        """Return the pages of this scan as one line; empty if none can be kept."""
        kept, size = {}, 0
        for key, page in sorted(self._now.items()):
            values = {k: v for k, v in _values(page).items() if v != _DEFAULTS[k]}
            length = len(json.dumps(values)) + len(key)
            if length <= MAX_PAGE and size + length <= MAX_TEXT:
                kept[key] = values
                size += length
        return json.dumps(kept, separators=(",", ":")) if kept else ""


def _values(page: Page) -> dict[str, Any]:
    return {f.name: getattr(page, f.name) for f in fields(page)}
