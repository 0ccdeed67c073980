"""Run the checks of one endpoint so that each stands alone. Pure.

An internal error of one check becomes the finding ``scanner-error`` of that part. What the check
found before the error stays, and so do the findings of all other checks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from certmgr.checks.transport import finding
from certmgr.scan.internal_errors import is_internal
from inventory.errors import log_internal_error
from inventory.finding_codes import Layer
from inventory.vocabulary import Finding

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

# Part of the judgement -> the layer of its findings. If a part fails, the stored findings of its
# layer are neither confirmed nor disproved.
PARTS = {
    "resolution": Layer.DNS,
    "connection": Layer.TRANSPORT,
    "dates": Layer.CERTIFICATE,
    "certificate": Layer.CERTIFICATE,
    "chain": Layer.CERTIFICATE,
    "staple": Layer.CERTIFICATE,
    "comparison": Layer.CERTIFICATE,
    "pages": Layer.HTTP,
    "summary": Layer.CERTIFICATE,
}
_SUFFIX = " ended with an internal error"
# Part -> the text of evidence; notifiers/wording/values.py lists these for translation.
FAILED = {
    "resolution": "the check of the name resolution ended with an internal error",
    "connection": "the check of the connection ended with an internal error",
    "dates": "the check of the dates ended with an internal error",
    "certificate": "the check of the certificate ended with an internal error",
    "chain": "the check of the chain ended with an internal error",
    "staple": "the check of the OCSP response ended with an internal error",
    "comparison": "the comparison of the addresses ended with an internal error",
    "pages": "the check of the pages ended with an internal error",
    "summary": "the summary of the checks ended with an internal error",
}


@dataclass(slots=True)
class FindingCollector:
    """The findings of one endpoint, and the checks that failed.

    Attributes:
        findings: The findings so far.
        failed: Part -> the addresses for which it failed.
    """

    findings: list[Finding] = field(default_factory=list)
    failed: dict[str, list[str]] = field(default_factory=dict)

    def check(
        self, part: str, at: Iterable[str], function: Callable[[], Iterable[Finding]]
    ) -> list[Finding]:
        """Run a check, and add what it finds. Returns the findings of this check.

        Args:
            part: The part of :data:`PARTS`.
            at: The addresses that it is about.
            function: Returns the findings, possibly one by one.
        """
        found: list[Finding] = []
        try:
            for entry in function():
                found.append(entry)
                self.findings.append(entry)
        # Any error: a bug in one check must not hide what the others find.
        except BaseException as error:
            if not is_internal(error):
                raise
            self._failed(part, at)
        return found

    def value(self, part: str, at: Iterable[str], function: Callable[[], _T], default: _T) -> _T:
        """Return the value of a function, or ``default`` if it fails."""
        try:
            return function()
        # As in the method above: the other checks go on with the default.
        except BaseException as error:
            if not is_internal(error):
                raise
            self._failed(part, at)
            return default

    def _failed(self, part: str, at: Iterable[str]) -> None:
        log_internal_error(_log, FAILED[part].removesuffix(_SUFFIX))
        addresses = self.failed.setdefault(part, [])
        addresses += [a for a in at if a not in addresses]

    def errors(self) -> Iterator[Finding]:
        """Yield one finding about the checks that failed, if any."""
        if self.failed:
            texts = [FAILED[part] for part in self.failed]
            yield finding(
                "scanner-error",
                tuple(dict.fromkeys(a for at in self.failed.values() for a in at)),
                error=texts[0] if len(texts) == 1 else texts,
                parts=list(self.failed),
            )


def failed_layers(findings: Iterable[Finding]) -> frozenset[str]:
    """Return the layers of the checks that failed."""
    return frozenset(
        PARTS[part]
        for entry in findings
        if entry.code == "scanner-error"
        for part in entry.evidence.get("parts", ())
        if part in PARTS
    )
