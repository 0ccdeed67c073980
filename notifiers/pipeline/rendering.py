"""Jinja2 templates: sandboxed, strict, and escaped in HTML.

A provider's template directory wins over the built-in one. Text of rows is never used as a
template.
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
from inventory.files import refuse_special
from inventory.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

BUILT_IN = Path(__file__).with_name("templates")
NAMES = ("client", "announcement", "staff")
MAX_OUTPUT = 500_000


class _RegularFileLoader(FileSystemLoader):
    """Opens no pipe or device, which would never end."""

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        for folder in self.searchpath:
            refuse_special(Path(folder) / template)
        return super().get_source(environment, template)


@cache
def _compiled() -> BytecodeCache:
    """Return the compiled templates of this process, one per file.

    Compiling costs more than rendering. Jinja compares the checksum of the source, so a changed
    file is compiled again.
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
    """The templates of messages.

    In the provider's directory ``client.de.html.j2`` wins over ``client.html.j2``. Both win over
    the built-in templates.

    Args:
        directory: The provider's directory, or empty.

    Raises:
        ConfigError: The directory does not exist.
    """

    def __init__(self, directory: str = "") -> None:
        if directory and not Path(directory).is_dir():
            raise ConfigError(
                f"[notify] templates: {directory} is not a directory",
                "",
                "Name an existing directory, or remove the key.",
            )
        self.directory = directory
        # Sandboxed, because a provider's template may be copied from elsewhere.
        self.environment = SandboxedEnvironment(
            loader=_RegularFileLoader([directory, str(BUILT_IN)] if directory else [str(BUILT_IN)]),
            undefined=StrictUndefined,  # a misspelled name is an error instead of empty text
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
        output_format: str,
        message: Mapping[str, Any],
        translate: Callable[[str], str],
    ) -> str:
        """Render a message.

        Args:
            output_format: txt or html.

        Raises:
            ConfigError: The template is missing or broken. The error names template and line.
        """
        # A template of the reader's language wins; the general one is translated phrase by phrase.
        candidates = [f"{name}.{language}.{output_format}.j2", f"{name}.{output_format}.j2"]
        # Only names of real files are accepted, so that no name leads out of the folders.
        known = set(self.environment.list_templates())
        chosen = next((c for c in candidates if c in known), None)
        if chosen is None:
            raise ConfigError(
                f"There is no template '{printable(name, 60)}'",
                f"the file {candidates[1]} does not exist",
                "Correct the name.",
            )
        try:
            # Values are passed and never inserted into the source, so text of rows is no template.
            text = self.environment.get_template(chosen).render(m=message, t=translate)
        except TemplateNotFound as error:
            raise ConfigError(
                f"The template {chosen} cannot be used",
                f"it includes {printable(str(error), 60)}, which does not exist",
                "Correct the include.",
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
            location = f"{chosen}{f', line {line}' if line else ''}"
            raise ConfigError(
                f"The template {location} cannot be used",
                printable(str(error), 200),
                "Correct the template, or remove it.",
            ) from None
        # A template of the provider may loop; mail servers refuse messages of that size.
        if len(text) > MAX_OUTPUT:
            raise ConfigError(
                f"The template {chosen} makes a message of {len(text):,} characters",
                f"at most {MAX_OUTPUT:,} are sent",
                "Shorten the template.",
            )
        return text

    def check(self, samples: Mapping[str, Mapping[str, Any]], languages: tuple[str, ...]) -> None:
        """Render each template with a sample, so that errors show before anything is decided."""
        provided = (
            {p.name.split(".")[0] for p in Path(self.directory).glob("*.j2")}
            if self.directory
            else set()
        )
        for path in sorted(Path(self.directory).glob("*.j2")) if self.directory else ():
            # A file with another name would be ignored silently.
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
        for name in sorted({*NAMES, *provided}):
            # A template with another name is one for announcements (--template).
            sample = samples.get(name, samples["announcement"])
            for language in languages:
                for output_format in ("txt", "html"):
                    self.render(name, language, output_format, sample, str)
