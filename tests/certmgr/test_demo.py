"""The demonstration ends well, and shows the main jobs."""

from __future__ import annotations

from typing import Any


def test_it_inspects_explains_and_leads_a_purchase_to_its_proof(certmgr: Any) -> None:
    done = certmgr("demo")
    assert (done.code, done.err) == (0, "")
    for part in ("scan", "status", "compliance", "report", "order", "case"):
        assert f"== certmgr {part}" in done.out
    automatic = done.out[done.out.index("== certmgr issue") :]
    assert automatic.count("nginx reloaded; seen live at 1 place(s)") == 2, automatic
    story = done.out[done.out.index("== certmgr case") : done.out.index("== certmgr issue")]
    steps = [line.split("\t")[0] for line in story.splitlines() if "\t" in line]
    assert steps == [
        "STEP",
        "open",
        "csr",
        "send",
        "receive",
        "refuse",
        "receive",
        "accept",
        "approve",
        "install",
        "see",
        "close",
    ]
    assert "made for another key" in story
