"""CSV files: encodings, separators, headers, sizes and formulas."""

from __future__ import annotations

import csv
import io

import pytest

from inventory.db.database import Database
from inventory.errors import UsageError
from inventory.store import clients
from tests.inventory.importers.files import export_text, import_text


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffclient,client_name,domain\n1,Müller,shop.example.com\n".encode(),
        "client;client_name;domain\n1;Müller;shop.example.com\n".encode(),
        "client,client_name,domain\n1,Müller,shop.example.com\n".encode("latin-1"),
        "client\tclient_name\tdomain\r\n1\tMüller\tshop.example.com\r\n".encode("utf-8-sig"),
    ],
    ids=["BOM", "semicolons", "Latin-1", "tabs and CRLF"],
)
def test_file_of_a_spreadsheet_is_read(database: Database, data: bytes) -> None:
    assert import_text(database, data).problems == []
    with database.read() as conn:
        assert clients.find(conn, "1").name == "Müller"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("client," * 2_000_000 + "\n", "too long for a header"),
        ("", "no column 'client'"),
        ("name,host\n1,2\n", "no column 'client'"),
        ("client,domian\n", "Did you mean 'domain'"),
        ("client,client\n", "occurs twice"),
        ("\0\0\0\n", "no column 'client'"),
    ],
)
def test_invalid_header_is_refused(database: Database, data: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        import_text(database, data)


def test_row_of_two_million_cells_is_reported_as_one_problem(database: Database) -> None:
    planned = import_text(database, "client,domain\n1," + "x," * 2_000_000 + "\n2,ok.example.com\n")
    assert len(planned.problems) == 1
    assert [i.values["number"] for i in planned.items["client"].values()] == ["2"]


def test_no_exported_cell_is_a_formula(database: Database) -> None:
    with database.write() as tx:
        clients.add(tx, {"number": "=1+1", "name": "@SUM(A1)"})
    cells = [c for row in csv.reader(io.StringIO(export_text(database))) for c in row]
    assert not [c for c in cells if c.startswith(("=", "+", "-", "@"))]
    assert "'=1+1" in cells
