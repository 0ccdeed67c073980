"""An import format is one file: everything else finds what its module declares."""

from __future__ import annotations

from pathlib import Path

from certmgr.cli.inventory.imports import import_
from inventory.importers.format import Certainty, formats
from tests.additions import run_with_module

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


def test_new_format_is_guessed_read_offered_and_documented(tmp_path: Path) -> None:
    hosts = tmp_path / "list"
    hosts.write_text("127.0.0.1 shop.example.com www.example.com\n")
    (tmp_path / "packages").mkdir()
    shown = run_with_module(
        tmp_path / "packages",
        "inventory.importers",
        "hosts_file",
        HOSTS_FILE,
        f"""
        from pathlib import Path
        from inventory.errors import UsageError
        from inventory.importers.format import ImportSource, formats
        from inventory.importers.guess import guess_format
        from inventory.importers.plan import ImportPlan
        from tools.doc_tables import with_tables

        name = guess_format(Path({str(hosts)!r}))
        print(name)
        source = ImportSource(path=Path({str(hosts)!r}), client="7")
        print(*(f"{{r.client}}:{{r.domain}}" for r in formats()[name].read(ImportPlan(), source)))
        unknown = Path({str(tmp_path / "unknown")!r})
        unknown.write_text("?")
        try:
            guess_format(unknown)
        except UsageError as error:
            print(error)
        print(with_tables("import.md"))
        """,
    ).splitlines()
    assert shown[:2] == ["hosts", "7:shop.example.com 7:www.example.com"]
    assert "csv, hosts, json" in shown[2]
    assert "| `hosts` | a hosts file | its owner in the inventory, or `--client` |" in shown
