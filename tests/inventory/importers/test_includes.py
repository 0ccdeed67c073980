"""Includes of configurations that would make an import read without end."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.errors import UsageError
from inventory.importers import apache, apache_directives, includes, nginx
from tests.inventory.importers.files import split


@pytest.fixture
def few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(includes, "MAX_NAMES", 50)


def _tree(folder: Path) -> Path:
    """Make ten folders with ten folders each."""
    for number in range(100):
        (folder / "tree" / f"a{number // 10}" / f"b{number % 10}").mkdir(parents=True)
    return folder / "tree"


@pytest.mark.usefixtures("few_names")
@pytest.mark.parametrize("pattern", ["*/*/none.conf", "*/b*/x", "a[0-9]*/*/*/*"])
def test_nginx_pattern_over_many_folders_is_refused(tmp_path: Path, pattern: str) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"http {{ include {_tree(tmp_path)}/{pattern}; }}\n")
    with pytest.raises(UsageError, match="includes too much"):
        split(nginx.read(conf, "1"))


@pytest.mark.usefixtures("few_names")
def test_apache_pattern_over_many_folders_is_refused_in_an_included_file(tmp_path: Path) -> None:
    conf = tmp_path / "apache2.conf"
    (tmp_path / "inner.conf").write_text(f"IncludeOptional {_tree(tmp_path)}/*/*/none.conf\n")
    conf.write_text("Include inner.conf\n")
    with pytest.raises(UsageError, match="includes too much"):
        split(apache.read(conf, "1"))


@pytest.mark.usefixtures("few_names")
def test_apache_include_of_a_folder_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    # Three links, twenty folders deep: three billion folders.
    (tmp_path / "sites").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "sites" / name).symlink_to(tmp_path / "sites")
    conf = tmp_path / "apache2.conf"
    conf.write_text("Include sites\n")
    with pytest.raises(UsageError, match="includes too much"):
        split(apache.read(conf, "1"))


@pytest.mark.usefixtures("few_names")
def test_patterns_that_are_compared_with_each_file_of_a_dump_are_refused(tmp_path: Path) -> None:
    lines = "".join(f"include /etc/nginx/{number}/*;\n" for number in range(10))
    files = "".join(f"# configuration file /etc/nginx/f{n}:\n" for n in range(50))
    dump = tmp_path / "dump.txt"
    dump.write_text(f"# configuration file /etc/nginx/nginx.conf:\n{lines}{files}")
    with pytest.raises(UsageError, match="includes too much"):
        split(nginx.read(dump, "1"))


def _empty_files(folder: Path) -> None:
    (folder / "empty").mkdir()
    for number in range(100):
        (folder / "empty" / f"{number}.conf").touch()


def test_empty_files_that_nginx_includes_on_many_lines_count_as_directives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nginx, "MAX_DIRECTIVES", 1000)
    _empty_files(tmp_path)
    conf = tmp_path / "nginx.conf"
    conf.write_text("http {\n" + "include empty/*;\n" * 20 + "}\n")
    with pytest.raises(UsageError, match="more than 1,000 directives"):
        split(nginx.read(conf, "1"))


def test_empty_files_that_apache_includes_on_many_lines_count_as_directives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apache_directives, "MAX_DIRECTIVES", 1000)
    _empty_files(tmp_path)
    conf = tmp_path / "apache2.conf"
    conf.write_text("Include empty\n" * 20)
    with pytest.raises(UsageError, match="over 1,000 directives"):
        split(apache.read(conf, "1"))


@pytest.mark.parametrize(
    "line",
    [
        f"<IfFile {'a' * 5000}>\n</IfFile>",
        f"ServerRoot /{'a' * 5000}",
        f"Include /{'a' * 5000}/*.conf",
        f"IncludeOptional {'a' * 5000}",
        # In six characters, a hundred optional ones have a billion places.
        f'<IfVersion ~ "{"(?:.?)" * 100}x">\n</IfVersion>',
        '<IfVersion ~ "(?:.?){900}(?:.?){900}x">\n</IfVersion>',
    ],
    ids=["file", "root", "folder", "optional", "expression", "repeated"],
)
def test_hostile_condition_or_path_of_apache_does_not_end_the_import(
    tmp_path: Path, line: str
) -> None:
    conf = tmp_path / "apache2.conf"
    conf.write_text(f"{line}\n<VirtualHost *:443>\nServerName a.example.com\n</VirtualHost>\n")
    rows, _ = split(apache.read(conf, "1"))
    assert [domain for domain, _ in rows] == ["a.example.com"]
