"""Plain lists of names, as they are cut out of mails, pages and programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.importers import guess, names_format
from inventory.importers.entry import ImportRow


@pytest.mark.parametrize(
    "text",
    [
        "a.test\r\nb.test\r\n",
        "a.test\rb.test\r",
        "\ufeffa.test\u00a0b.test\n",
        "\u201ca.test\u201d\n\u201eb.test\u201c\n",
        "\u2022 a.test\n\u2022 b.test\n",
        "1. a.test\n2. b.test\n",
        "\u2013 a.test\n* b.test\n",
        "\u200ba.test\u200b\nb.test\ufeff\n",
        "<https://a.test/>\n[b.test](https://b.test/x)\n",
        "['a.test', 'b.test']\n",
        '"a.test","b.test"\n',
        "DNS:a.test, DNS:b.test\n",
        "(a.test)\nb.test\u2026\n",
        "a.test:443\nb.test\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_list_is_recognised_and_read(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode(encoding))
    assert guess.guess_format(path) == "names"
    rows = list(names_format.read(path, "1"))
    assert [(r.domain, r.target) for r in rows if isinstance(r, ImportRow)] == [
        ("a.test", ""),
        ("b.test", ""),
    ]
    assert len(rows) == 2


def test_port_of_a_name_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("mail.test:993\n")
    (row,) = names_format.read(path, "1")
    assert isinstance(row, ImportRow) and (row.domain, row.target) == ("mail.test", "mail.test:993")
