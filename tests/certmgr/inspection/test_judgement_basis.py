"""Which rooms make a version of the checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from certmgr.inspection.judgement_basis import JUDGING

ROOT = Path(__file__).parents[3]
# Packages without a module, or with the version of the program alone.
WITHOUT_RULES = {"certmgr", "notifiers"}


def test_rooms_that_judge_belong_to_the_version_of_the_checks() -> None:
    source = (
        "import sys, certmgr.checks.judge\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.split('.')[0] in ('certmgr', 'inventory', 'notifiers'):\n"
        "        print(name if hasattr(module, '__path__') else module.__package__)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert set(ran.stdout.split()) - WITHOUT_RULES <= set(JUDGING)
