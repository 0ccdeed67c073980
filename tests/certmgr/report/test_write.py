"""Names of report files."""

from __future__ import annotations

import re

from certmgr.report import write


def test_file_name_contains_only_safe_characters() -> None:
    assert write.file_name("1001", "html") == "client-1001.html"
    for number in ("../../etc/passwd", "a/b", "..", "ö", ".hidden", "a b"):
        name = write.file_name(number, "html")
        assert re.fullmatch(r"client-[A-Za-z0-9_-]+\.html", name)
    assert write.file_name("a/b", "html") != write.file_name("ab", "html")
