"""The environment of the templates, and the style sheet with its content security policy.

A page is one file, without scripts and remote resources. Its policy allows only the inline style
sheet, by its hash. Texts from the inventory and from servers are values, never templates.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

_STYLE = Path(__file__).with_name("style.css")
# A symbol in addition to the colour, for readers who cannot distinguish the colours.
SYMBOLS = {"ok": "✓", "attention": "!", "fault": "✗", "unknown": "?"}


@lru_cache(maxsize=4)
def _environment(folder: Path) -> Any:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folder),
        # All values may contain text of servers and clients.
        autoescape=True,
        # A missing value must fail a test and not print an empty text.
        undefined=StrictUndefined,
        # Templates do not change while the program runs.
        auto_reload=False,
    )


@lru_cache(maxsize=1)
def _style() -> tuple[Any, str]:
    # The hash must be that of the exact text in the page.
    text = _STYLE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return Markup(text), policy  # noqa: S704 - a file of this package


def policy() -> str:
    """Return the content security policy of a page."""
    return _style()[1]


def render_page(folder: Path, name: str, **values: Any) -> str:
    """Return a page. Its template gets ``style`` and ``policy`` in addition to the values.

    Args:
        folder: The folder of the template.
        name: The file of the template.
        values: The values of the template. They are escaped.
    """
    style, content_policy = _style()
    template = _environment(folder).get_template(name)
    return str(template.render(style=style, policy=content_policy, **values))
