"""Update the translation catalogues from the texts of the code: ``python tools/catalogue.py``.

New texts get an empty translation. To add a language, add notifiers/wording/locale/CODE.po with
only a header, and run this program.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from certmgr.compliance.milestones import milestones
from inventory.finding_codes import CODES
from notifiers.wording import (
    cases,
    dashboard,
    diagnose,
    letters,
    notice,
    renewals,
    report,
    values,
    verdicts,
)
from notifiers.wording.catalogue import FOLDER


def messages() -> Iterator[str | tuple[str, str]]:
    """Yield all texts to translate. A pair is singular and plural."""
    for code in CODES.values():
        yield from code.text
    for code in CODES.values():
        for words in code.variants.values():
            yield from words
    for code in CODES.values():
        # Most codes have no other words for a client for whom we install.
        yield from filter(None, (code.client, *code.client_variants.values()))
    yield from verdicts.OUTCOMES.values()
    yield from _phrases(report.ReportPhrases)
    yield from _phrases(dashboard.DashboardPhrases)
    yield from _phrases(letters.PersistLetterPhrases)
    for table in (
        dashboard.SEVERITIES,
        dashboard.KINDS,
        dashboard.ACTORS,
        dashboard.CASE_STATES,
        dashboard.RENEWALS,
        dashboard.COMPLIANCE,
    ):
        yield from table.values()
    yield from dashboard.LABELS
    for table in (report.STATES, report.STEPS, report.WHO, report.NOTES):
        yield from table.values()
    yield from report.LABELS
    yield from (v for k, v in vars(notice.NoticePhrases).items() if not k.startswith("_"))
    yield from notice.LABELS
    yield from renewals.PLANNED.values()
    yield from (
        renewals.PLANNED_BY_PERSON,
        renewals.PLANNED_SENTENCE,
        renewals.PLANNED_MESSAGE,
    )
    for step in (*cases.STEPS.values(), *cases.ORDERS.values()):
        yield from (text for text in step if text)
    yield from cases.PHRASES
    yield from cases.UPLOAD_MESSAGES.values()
    yield from cases.DATES.values()
    yield from diagnose.MESSAGE_TEXTS
    yield from (question for question, _ in diagnose.QUESTIONS)
    for milestone in milestones():
        yield from (milestone.title, milestone.affects)
    yield from sorted(values.VALUES)


def _phrases(owner: type) -> Iterator[str | tuple[str, str]]:
    """Yield the phrases of a class; one ending in ``_many`` is the plural of the one before."""
    phrases = {k: v for k, v in vars(owner).items() if not k.startswith("_")}
    for name, text in phrases.items():
        if f"{name}_many" in phrases:
            yield text, phrases[f"{name}_many"]
        elif not name.endswith("_many"):
            yield text


_HEADER = (
    '"Project-Id',
    '"Report-Msgid',
    '"POT-Creation',
    '"PO-Revision',
    '"Last-Translator',
    '"Language-Team',
    '"Generated-By',
)


def update(path: Path) -> None:
    """Add new texts to a catalogue and remove texts that are not used any more."""
    with path.open("rb") as file:
        old = read_po(file, locale=path.stem)
    new = Catalog(
        locale=path.stem,
        fuzzy=False,
        header_comment=f"# Texts of certmgr, language {path.stem}.",
        charset="utf-8",
    )
    for message in dict.fromkeys(messages()):
        known = old.get(message)
        new.add(message, string=known.string if known is not None else None)
    with path.open("wb") as file:
        write_po(file, new, width=150, ignore_obsolete=True)
    # Babel writes placeholders and the current time into the header, which would change each time.
    lines = [
        line
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True)
        if not line.startswith(_HEADER)
    ]
    path.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.po")):
        update(path)
