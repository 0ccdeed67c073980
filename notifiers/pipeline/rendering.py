"""Jinja2 templates: sandboxed, strict, escaped in HTML.

A provider's own directory goes before ours. Row text is only ever a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import BytecodeCache, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound
from jinja2.bccache import Bucket
from jinja2.sandbox import SandboxedEnvironment

from inventory.errors import ConfigError
from inventory.text import printable

if TYPE_CHECKING:
    from jinja2 import BytecodeCache

OURS = Path(__file__).with_name("templates")
NAMES = ("client", "bulletin", "staff")
MAX_OUTPUT = 500_000


@cache
def _compiled() -> BytecodeCache:
    """Return the compiled templates of this process, one per file: to compile costs more than to
    render.

    Jinja compares the checksum of the source, so a changed file is compiled again.
    """

    class Memory(BytecodeCache):
        def __init__(self) -> None:
            self.code: dict[str, bytes] = {}

        def load_bytecode(self, bucket: Bucket) -> None:
            if (code := self.code.get(bucket.key)) is not None:
                bucket.bytecode_from_string(code)

        def dump_bytecode(self, bucket: Bucket) -> None:
            self.code[bucket.key] = bucket.bytecode_to_string()

    return Memory()


class Templates:
    """``directory``: of the provider, or empty.

    ``client.de.html.j2`` there goes before ``client.html.j2`` there, and that before ours.
    """

    def __init__(self, directory: str = "") -> None:
        if directory and not Path(directory).is_dir():
            raise ConfigError(
                f"[notify] templates: {directory} is not a directory",
                "",
                "Name a directory, or leave the key out.",
            )
        self.directory = directory
        self.environment = SandboxedEnvironment(
            loader=FileSystemLoader([directory, str(OURS)] if directory else [str(OURS)]),
            undefined=StrictUndefined,
            auto_reload=False,
            autoescape=lambda name: name is None or ".html" in name,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            bytecode_cache=_compiled(),
        )

    def render(
        self,
        name: str,
        language: str,
        form: str,
        message: Mapping[str, Any],
        translate: Callable[[str], str],
    ) -> str:
        """``form``: txt or html. Raises :class:`ConfigError`, which names template and line."""

        candidates = [f"{name}.{language}.{form}.j2", f"{name}.{form}.j2"]
        known = set(self.environment.list_templates())
        chosen = next((c for c in candidates if c in known), None)
        if chosen is None:
            raise ConfigError(
                f"There is no template '{printable(name, 60)}'",
                f"{candidates[1]} is not there",
                "Correct its name.",
            )
        try:
            text = self.environment.get_template(chosen).render(m=message, t=translate)
        except TemplateNotFound as error:
            raise ConfigError(
                f"The template {chosen} cannot be used",
                f"it includes {printable(str(error), 60)}, which is not there",
                "Correct it.",
            ) from None
        except (
            TemplateError,
            TypeError,
            ValueError,
            KeyError,
            ArithmeticError,
            AttributeError,
        ) as error:
            line = getattr(error, "lineno", None)
            where = f"{chosen}{f', line {line}' if line else ''}"
            raise ConfigError(
                f"The template {where} cannot be used",
                printable(str(error), 200),
                "Correct it, or remove it.",
            ) from None
        if len(text) > MAX_OUTPUT:
            raise ConfigError(
                f"The template {chosen} makes a message of {len(text):,} characters",
                f"at most {MAX_OUTPUT:,} are sent",
            )
        return text

    def check(self, samples: Mapping[str, Mapping[str, Any]], languages: tuple[str, ...]) -> None:
        """Render each template with a sample, so that an error shows before anything is decided."""
        own = (
            {p.name.split(".")[0] for p in Path(self.directory).glob("*.j2")}
            if self.directory
            else set()
        )
        for path in sorted(Path(self.directory).glob("*.j2")) if self.directory else ():
            parts = path.name.split(".")
            if (
                parts[-2] not in ("txt", "html")
                or (len(parts) == 4 and parts[1] not in languages)
                or len(parts) not in (3, 4)
            ):
                raise ConfigError(
                    f"The template {printable(path.name, 60)} would never be used",
                    f"languages are {', '.join(languages)}",
                    "Name it client.de.html.j2, for example.",
                )
        for name in sorted({*NAMES, *own}):
            sample = samples.get(name, samples["bulletin"])
            for language in languages:
                for form in ("txt", "html"):
                    self.render(name, language, form, sample, str)
