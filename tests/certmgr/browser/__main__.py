"""Print how Chromium and certmgr judge the situations.

usage: python -m tests.certmgr.browser [--wrong] [GROUP | GROUP/NAME]...

Each line: whether they agree, the situation, what Chromium shows, the error that ``certmgr
diagnose`` names, and the findings of ``certmgr scan`` with their severities. ``--wrong`` prints
only the situations in which they disagree. Exit code 1 if there is one.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.certmgr.browser.agreement import Result, court
from tests.certmgr.browser.catalogue import GROUPS, SITUATIONS, batches


def line(result: Result) -> str:
    """Return one row of the table."""
    situation, shown, found = result.situation, result.shown, result.found
    verdict = "differs" if result.disagreements else "intended" if result.intended else "agrees"
    opened = "opens" + (" over http" if shown.url.startswith("http:") else "")
    opened += ", secret field" if shown.secret else ""
    opened += ", mixed content" if shown.mixed else ""
    codes = " ".join(f"{code}({severity})" for code, severity in found.findings.items())
    return (
        f"| {verdict} | {situation.group} | {situation.name} | {shown.error or opened}"
        f" | {found.named or '-'} | {found.failure.strip() or codes or '-'} |"
    )


def main(arguments: list[str]) -> int:
    """Run the command and return the exit code."""
    if {"--help", "-h"} & set(arguments):
        print(__doc__)
        return 0
    wrong_only = "--wrong" in arguments
    wanted = [a for a in arguments if not a.startswith("--")]
    names = {s.id for s in SITUATIONS}
    if unknown := [w for w in wanted if w not in GROUPS and w not in names]:
        sys.exit(f"unknown: {', '.join(unknown)}; groups: {', '.join(GROUPS)}")
    chosen = [s for s in SITUATIONS if not wanted or s.id in wanted or s.group in wanted]
    counted = Counter[tuple[str, bool]]()
    print("| result | group | situation | Chromium | diagnose names | findings |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, court(chosen, Path(folder)) as judges:
        for result in (r for batch in batches(chosen) for r in judges.judge(batch)):
            counted[result.situation.group, bool(result.disagreements)] += 1
            if result.disagreements or not wrong_only:
                print(line(result), flush=True)
    print()
    for group in dict.fromkeys(group for group, _ in counted):
        print(f"{group}: {counted[group, False]} agree, {counted[group, True]} differ")
    differ = sum(n for (_, wrong), n in counted.items() if wrong)
    print(f"{counted.total()} situations: {counted.total() - differ} agree, {differ} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
