"""An import format is one file: everything else finds what its module declares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.cli.inventory.imports import import_
from inventory import importers
from inventory.errors import UsageError
from inventory.importers.entry import ImportRow
from inventory.importers.format import Certainty, ImportSource, formats
from inventory.importers.guess import guess_format
from inventory.importers.plan import ImportPlan
from tests.additions import added_module
from tools.doc_tables import with_tables

HOSTS_FILE = '''
    """The names of /etc/hosts."""

    import re

    from inventory.importers.entry import ImportRow
    from inventory.importers.format import Certainty, ImportFormat, of_names

    _ADDRESS = re.compile(r"^127\\.0\\.0\\.1[ \\t]", re.M)


    def read(path, client):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name in line.split()[1:]:
                yield ImportRow(f"{path}:{number}", client=client, domain=name)


    FORMAT = ImportFormat(
        name="hosts",
        summary="a hosts file",
        read=of_names(read),
        signs={Certainty.RECORDS: lambda sample: _ADDRESS.search(sample.text) is not None},
    )
'''


def test_option_offers_all_formats() -> None:
    option = next(p for p in import_.params if p.name == "kind")
    assert set(getattr(option.type, "choices", ())) == {*formats(), "axfr"}


def test_formats_with_the_same_certainty_exclude_each_other() -> None:
    """The order of equally certain signs is that of the names, which means nothing."""
    equal = {
        certainty: [f.name for f in formats().values() if certainty in f.signs]
        for certainty in Certainty
    }
    # Both headings name the server; both schemas are keys of one document.
    assert {c: names for c, names in equal.items() if len(names) > 1} == {
        Certainty.HEADING: ["apache", "nginx"],
        Certainty.SCHEMA: ["json", "zone"],
    }


@pytest.fixture
def hosts_format(tmp_path: Path) -> Iterator[None]:
    """A further format, whose module is in another folder."""
    formats.cache_clear()
    with added_module(tmp_path, importers, "hosts_file", HOSTS_FILE):
        yield
    formats.cache_clear()


@pytest.mark.usefixtures("hosts_format")
def test_new_format_is_guessed_read_offered_and_documented(tmp_path: Path) -> None:
    hosts, unknown = tmp_path / "list", tmp_path / "unknown"
    hosts.write_text("127.0.0.1 shop.example.com www.example.com\n")
    unknown.write_text("?")
    assert guess_format(hosts) == "hosts"
    rows = formats()["hosts"].read(ImportPlan(), ImportSource(path=hosts, client="7"))
    assert [(r.client, r.domain) for r in rows if isinstance(r, ImportRow)] == [
        ("7", "shop.example.com"),
        ("7", "www.example.com"),
    ]
    with pytest.raises(UsageError, match="csv, hosts, json"):
        guess_format(unknown)
    row = "| `hosts` | a hosts file | its owner in the inventory, or `--client` |"
    assert row in with_tables("import.md")
