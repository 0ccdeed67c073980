"""Compose a message to staff, in English. Pure, except for reading templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from notifiers.pipeline.message import MAX_SUBJECT, Message, one_line
from notifiers.pipeline.rendering import Templates


@dataclass(frozen=True, slots=True)
class SectionLine:
    """One line of a message to staff.

    Attributes:
        text: What there is, as one sentence.
        command: What to do about it, to be pasted into a shell. Empty if the command of the
            section is enough.
    """

    text: str
    command: str = ""

    def __str__(self) -> str:
        # A provider's template that prints lines as they are shows the command too.
        return f"{self.text}: {self.command}" if self.command else self.text


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a digest.

    Attributes:
        more: The number of lines that did not fit.
        command: The command that shows all of them.
        number: How many lines there are; None if the lines are about one thing.
    """

    heading: str
    lines: tuple[SectionLine, ...]
    more: int = 0
    command: str = ""
    number: int | None = None


# A digest is read every morning. What does not fit into a screen is not read.
MAX_LINES = 25


def section(
    heading: str, lines: Sequence[str | SectionLine], command: str, *, numbered: bool = True
) -> Section:
    """Return a section with at most :data:`MAX_LINES` lines.

    Args:
        heading: Its heading.
        lines: Its lines.
        command: The command that shows all of them.
        numbered: Whether the heading states how many lines there are.
    """
    # A digest stays short; the command shows the rest.
    shown = tuple(
        SectionLine(one_line(line, 300))
        if isinstance(line, str)
        else SectionLine(one_line(line.text, 400), one_line(line.command, 300))
        for line in lines[:MAX_LINES]
    )
    more = max(0, len(lines) - MAX_LINES)
    return Section(heading, shown, more, command, len(lines) if numbered else None)


def staff_message(
    subject: str,
    lead_sentence: str,
    sections: Sequence[Section],
    footer: Sequence[str],
    templates: Templates,
    reference: str,
) -> Message:
    """Return a message to staff, in English."""
    message = {
        "subject": one_line(subject, MAX_SUBJECT),
        "lead": lead_sentence,
        "sections": [s for s in sections if s.lines],
        "footer": [one_line(line, 500) for line in footer],
    }
    text, html = (
        templates.render("staff", "en", output_format, message, str)
        for output_format in ("txt", "html")
    )
    return Message(one_line(subject, MAX_SUBJECT), text, html, None, reference)
