"""The elements of an XML document, as a browser reads it. Pure.

Browsers parse XHTML by the rules of XML: names are case-sensitive, noscript and empty scripts hide
nothing, and the page ends at the first error. Its input is hostile: expat limits the expansion of
entities, and the process of certmgr/scan/page_process.py limits the time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from html.entities import name2codepoint
from xml.parsers import expat

XHTML = "http://www.w3.org/1999/xhtml"
SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_SEPARATOR = "\x01"  # no namespace has it
# Elements of other vocabularies count too, so that the limit is above that of HTML (page.py).
MAX_ELEMENTS = 200_000
# Public identifiers for which browsers know the entities of XHTML (HTML standard 14.2).
_PUBLIC_IDS = frozenset(
    {
        "-//W3C//DTD XHTML 1.0 Transitional//EN",
        "-//W3C//DTD XHTML 1.1//EN",
        "-//W3C//DTD XHTML 1.0 Strict//EN",
        "-//W3C//DTD XHTML 1.0 Frameset//EN",
        "-//W3C//DTD XHTML Basic 1.0//EN",
        "-//W3C//DTD XHTML 1.1 plus MathML 2.0//EN",
        "-//W3C//DTD XHTML 1.1 plus MathML 2.0 plus SVG 1.1//EN",
        "-//W3C//DTD MathML 2.0//EN",
        "-//WAPFORUM//DTD XHTML Mobile 1.0//EN",
        "-//WAPFORUM//DTD XHTML Mobile 1.1//EN",
        "-//WAPFORUM//DTD XHTML Mobile 1.2//EN",
    }
)
_MARKUP = frozenset({"lt", "amp"})
_ENTITIES = "".join(
    # XML requires this form for the two characters that begin markup (XML 1.0, 4.6).
    f'<!ENTITY {name} "{"&#38;#" if name in _MARKUP else "&#"}{code};">'
    for name, code in name2codepoint.items()
)

# Whether it is an element of XHTML, its name, its attributes, and its text once it has ended
XmlElement = tuple[bool, str, dict[str, str], Callable[[], str]]


def xml_elements(text: str) -> list[XmlElement]:
    """Return the elements of XHTML and SVG, up to the first error."""
    reader = _Reader()
    # A browser shows the elements before the error.
    with contextlib.suppress(expat.ExpatError):
        reader.parser.Parse(text.encode("utf-8", "replace"), True)
    return reader.elements


class _Reader:
    """Collects elements from the events of expat."""

    def __init__(self) -> None:
        self.elements: list[XmlElement] = []
        self._texts: list[list[str] | None] = []
        self._templates = 0
        self.parser = parser = expat.ParserCreate("utf-8", _SEPARATOR)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_UNLESS_STANDALONE)
        parser.ExternalEntityRefHandler = self._external

    def _external(
        self, context: str, _base: str | None, _system_id: str | None, public_id: str | None
    ) -> int:
        """Declare the entities of XHTML for a document type that has them. Nothing is loaded."""
        parser = self.parser.ExternalEntityParserCreate(context)
        parser.Parse(_ENTITIES if public_id in _PUBLIC_IDS else "", True)
        return 1

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, tag = name.rpartition(_SEPARATOR)
        html = namespace == XHTML
        texts: list[str] | None = [] if tag in ("title", "style") else None
        self._texts.append(texts)
        shown = (html or namespace == SVG) and not self._templates
        if shown and len(self.elements) < MAX_ELEMENTS:
            prefix = f"{_XLINK}{_SEPARATOR}"
            values = {k.replace(prefix, "xlink:"): v for k, v in attributes.items()}
            self.elements.append((html, tag, values, lambda: "".join(texts or ())))
        # The content of a template is not part of the page. XML has no declarative shadow roots.
        self._templates += html and tag == "template"

    def _end(self, name: str) -> None:
        self._texts.pop()
        self._templates -= name == f"{XHTML}{_SEPARATOR}template"

    def _characters(self, data: str) -> None:
        if self._texts and (texts := self._texts[-1]) is not None:
            texts.append(data)
