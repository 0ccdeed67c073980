"""CSV files: encodings, separators, headers, sizes and formulas."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from inventory.db.database import Database
from inventory.errors import UsageError
from inventory.importers import csv_format, customer_lists
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.guess import guess_format
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


@pytest.mark.parametrize(
    "text",
    [
        "ID,Domain,Client Name\n1,a.example,Rosen Ltd\n2,b.example,Rosen Ltd\n",
        "Nr.;Firma;Domain\n7;Rosen GmbH;a.example\n8;ROSEN GMBH;b.example\n",
        "No\tWebsite\tCompany\n1\ta.example\tX\n\tb.example\tX\n3\tc.example\tX\n",
    ],
)
def test_column_that_numbers_the_rows_is_no_customer_number(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not the customer's number") as caught:
        csv_format.open_list(path)
    assert "--map client=" in caught.value.todo
    column = text.split("\n")[0].replace("\t", ",").replace(";", ",").split(",")[0]
    assert csv_format.open_list(path, {"client": column}).mapping["client"] == column


@pytest.mark.parametrize(
    "text",
    [
        "ID,Domain,Client Name\n1,a.example,Rosen Ltd\n1,b.example,Rosen Ltd\n2,c.example,Ivy\n",
        "ID,Company Name,Email\n1,Rosen,a@a.example\n2,Rosen,b@b.example\n",
        "Kundennummer;Firma;Domain\n1;Rosen;a.example\n2;Rosen;b.example\n",
    ],
)
def test_column_that_numbers_the_customers_is_their_number(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    assert "client" in csv_format.open_list(path).mapping


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


HEADER = "client;client_name;domain\n"


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (HEADER + '="0012";"=""Müller""";a.test\n', [("0012", "Müller", "a.test")]),
        ("Kunden 2026;;\n;;\n" + HEADER + "1;A;a.test\n", [("1", "A", "a.test")]),
        ("Kunde;;Technik\nKundennummer;Firma;Domain\n1;A;a.test\n", [("1", "A", "a.test")]),
        (
            f"{HEADER}1;A;a.test\n{HEADER}2;B;b.test\n",
            [("1", "A", "a.test"), ("2", "B", "b.test")],
        ),
        ('"sep=,"\nclient,client_name,domain\n1,A,a.test\n', [("1", "A", "a.test")]),
        ("\ufeff\ufeff" + HEADER + "1\u00a0;A;\u00a0a.test\u200b\n", [("1", "A", "a.test")]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-16"])
def test_list_of_a_spreadsheet_is_read_in_each_encoding(
    tmp_path: Path, data: str, rows: list[tuple[str, str, str]], encoding: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(data.encode(encoding))
    found = [r for r in csv_format.read(path) if isinstance(r, ImportRow)]
    assert [(r.client, r.client_fields["name"], r.domain) for r in found] == rows


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('1;=HYPERLINK("x");a.test', "a cell has the formula"),
        ("1;=A1+B1;a.test", "a cell has the formula"),
        ("1;A;#N/A", "a cell has the error #N/A"),
        ("1;#BEZUG!;a.test", "a cell has the error #BEZUG!"),
        ("#NV;A;a.test", "a cell has the error #NV"),
        ('1;"A;a.test', "a quote is not closed"),
    ],
)
def test_row_that_lost_its_values_is_reported_and_not_imported(
    tmp_path: Path, line: str, reason: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"{HEADER}{line}\n")
    (problem,) = csv_format.read(path)
    assert isinstance(problem, ImportProblem) and reason in problem.reason
    assert problem.where == f"{path}:2"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # WHMCS, Reports > Clients
        (
            "ID,First Name,Last Name,Company Name,Email,Address 1,Address 2,City,State,Postcode,"
            "Country,Phone Number,Currency,Client Group ID,Credit,Creation Date,Notes,Status",
            "client=ID client_name=Company_Name email=Email first_name=First_Name"
            " last_name=Last_Name note=Notes phone=Phone_Number",
        ),
        # WHMCS, Reports > Domains
        (
            "ID,User ID,Client Name,Order ID,Reg Type,Domain Name,First Payment Amount,"
            "Recurring Amount,Registration Period,Registration Date,Expiry Date,Next Due Date,"
            "Registrar,Payment Method,Status,Notes",
            "client=User_ID client_name=Client_Name domain=Domain_Name note=Notes",
        ),
        # WHMCS, Reports > Services
        (
            "ID,User ID,Client Name,Order ID,Product ID,Server ID,Registration Date,Domain Name,"
            "Dedicated IP,Assigned IPs,Billing Cycle,Next Due Date,Status,Username,Password,Notes",
            "client=User_ID client_name=Client_Name domain=Domain_Name note=Notes",
        ),
        # WHM, List Accounts
        (
            "Domain,IP Address,Username,Contact Email,Setup Date,Partition,Quota,Disk Used,Package,"
            "Theme,Owner",
            "client=Username domain=Domain email=Contact_Email",
        ),
        # Plesk, subscriptions and customers (gen_info)
        (
            "cr_date,name,ascii-name,status,real_size,owner-id,owner-login,htype,guid",
            "client=owner-login domain=ascii-name",
        ),
        (
            "cr_date,cname,pname,login,status,phone,fax,email,address,city,state,pcode,country",
            "client=login client_name=cname contact=pname email=email phone=phone",
        ),
        # Plesk, Customers and Subscriptions
        (
            "Customer name,Company,Username,Email,Subscriptions",
            "client=Username client_name=Company contact=Customer_name email=Email",
        ),
        ("Subscription,Subscriber,Setup date", "client=Subscriber domain=Subscription"),
        # WHMCS, Reports > Domains, with the company
        (
            "User ID,Client Name,Company Name,Domain",
            "client=User_ID client_name=Company_Name contact=Client_Name domain=Domain",
        ),
        # Spreadsheets
        (
            "Cliente,Razón social,Dominio",
            "client=Cliente client_name=Razón_social domain=Dominio",
        ),
        (
            "Nº de cliente,Empresa,Domínio,Correio eletrónico",
            "client=Nº_de_cliente client_name=Empresa domain=Domínio email=Correio_eletrónico",
        ),
        ("Cliente,Dominio,Correo", "client=Cliente domain=Dominio email=Correo"),
        ("Kunde,Firma,Domain", "client=Kunde client_name=Firma domain=Domain"),
        ("Kd.-Nr.,Kunde,Domain", "client=Kd.-Nr. client_name=Kunde domain=Domain"),
        (
            "N° client,Société,Nom de domaine",
            "client=N°_client client_name=Société domain=Nom_de_domaine",
        ),
        (
            "Cliente,Ragione sociale,Dominio",
            "client=Cliente client_name=Ragione_sociale domain=Dominio",
        ),
        ("Codice,Azienda,Dominio", "client=Codice client_name=Azienda domain=Dominio"),
        (
            "Nr klienta,Nazwa firmy,Domena,Numer telefonu",
            "client=Nr_klienta client_name=Nazwa_firmy domain=Domena phone=Numer_telefonu",
        ),
        ("Numer klienta,Klient,Domeny", "client=Numer_klienta client_name=Klient domain=Domeny"),
        ("Klant,Bedrijf,Domein", "client=Klant client_name=Bedrijf domain=Domein"),
        ("Zákazník,Název firmy,Doména", "client=Zákazník client_name=Název_firmy domain=Doména"),
        (
            "Kundenr.,Firma,Domæne,E-post",
            "client=Kundenr. client_name=Firma domain=Domæne email=E-post",
        ),
        ("Kundnr,Företag,Domän", "client=Kundnr client_name=Företag domain=Domän"),
    ],
)
def test_headers_of_billing_programs_and_panels_are_known(header: str, expected: str) -> None:
    found = customer_lists.guess(header.split(","), csv_format.COLUMNS)
    shown = " ".join(f"{k}={v.replace(' ', '_')}" for k, v in sorted(found.items()))
    assert shown == expected


def test_known_names_of_columns_are_plain_and_stand_once_each() -> None:
    for names in customer_lists.KNOWN_NAMES.values():
        assert [customer_lists.plain(n) for n in names] == list(dict.fromkeys(names))


def test_rows_of_customers_who_have_left_are_reported_and_left_out(database: Database) -> None:
    planned = import_text(
        database,
        "Kundennummer;Firma;Domain;Status\n1;Rosen;a.example;Active\n2;Ivy;b.example;Cancelled\n"
        "3;Elm;c.example;gekündigt\n4;Oak;d.example;\n",
    )
    assert [i.values["number"] for i in planned.items["client"].values()] == ["1", "4"]
    reasons = [p.reason for p in planned.problems]
    assert len(reasons) == 2
    assert "its Status is 'Cancelled'; to import it nevertheless" in reasons[0]


def test_state_of_an_address_is_neither_a_state_of_the_customer_nor_proposed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "clients.csv"
    path.write_text("ID,Company Name,City,State\n1,Rosen,Rome,Closed\n")
    opened = csv_format.open_list(path)
    assert (opened.states, opened.similar) == ("", {})
    assert [r.client for r in csv_format.rows_of(opened) if isinstance(r, ImportRow)] == ["1"]


def test_private_customer_of_a_foreign_list_is_named_by_the_contact(database: Database) -> None:
    planned = import_text(database, "User ID;Client Name;Company Name;Domain\n7;Eva;;a.example\n")
    (client,) = planned.items["client"].values()
    assert client.values["name"] == "Eva"


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ("Total;;;", False),
        ("Total: 57;;;", False),
        ("Grand Total;57 clients;;1,234.00 EUR", False),
        ("Summe;Summe;;$12", False),
        (";Gesamt;;17", False),
        ("Total;Total Energies;;", True),
        ("Total;;total.example;", True),
        ("Totalbau;;;", True),
        ("1001;Total;;", True),
        ("Sum;;;eva@sum.example", True),
    ],
)
def test_row_of_sums_below_a_list_does_not_become_a_client(
    tmp_path: Path, row: str, kept: bool
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"ID;Company Name;Domain;Email\n7;A;a.example;\n{row}\n")
    found = list(csv_format.read(path))
    assert [isinstance(r, ImportRow) for r in found] == [True] * (1 + kept)


def test_state_of_a_domain_is_read_in_a_list_without_addresses() -> None:
    assert (
        customer_lists.guess(["client", "domain", "state"], csv_format.COLUMNS)["state"] == "state"
    )


LIST = (
    "Kundennummer;Firma;Ansprechpartner;E-Mail;Domain\n"
    "1001;Müller & Söhne;Eva;Eva Müller <eva@m.example>;müller.example\n"
    '="0042";"Rosen; GmbH";Max;"max@r.example; info@r.example";"www.rosen.example\n'
    'shop.rosen.example"\n'
    "'0043;Café;;mailto:c@cafe.example;cafe.example\n"
)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_people_and_numbers_of_a_spreadsheet_are_read(
    tmp_path: Path, encoding: str, end: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(LIST.replace("\n", end).encode(encoding))
    rows = [r for r in csv_format.read(path) if isinstance(r, ImportRow)]
    assert [(r.client, r.domain, r.contact_methods) for r in rows] == [
        ("1001", "müller.example", ["email:eva@m.example"]),
        ("0042", "www.rosen.example", ["email:max@r.example", "email:info@r.example"]),
        ("0042", "shop.rosen.example", ["email:max@r.example", "email:info@r.example"]),
        ("0043", "cafe.example", ["email:c@cafe.example"]),
    ]
    assert rows[0].client_fields["name"] == "Müller & Söhne"


@pytest.mark.parametrize(
    "number",
    ["1,00E+03", "1001,0", "1001.00", "1\u00a0001", "1,001", "1'002", "Dez 26"],
)
def test_customer_number_that_a_spreadsheet_changed_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"client;domain\n{number};a.example\n1001;b.example\n", encoding="utf-8")
    found = list(csv_format.read(path))
    assert isinstance(found[0], ImportProblem) and "spreadsheet has changed it" in found[0].reason
    assert isinstance(found[1], ImportRow)


@pytest.mark.parametrize(
    "above",
    [
        "Customer;;Domains;\n",
        "Client;;Domain;\n;;;\n",
        "List of November\nCustomer;;Domains;Contact\n",
        "",
    ],
)
def test_header_is_the_line_below_merged_cells(tmp_path: Path, above: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"{above}client;client_name;domain;email\n1;Shop;shop.test;a@shop.test\n")
    (row,) = csv_format.read(path)
    assert isinstance(row, ImportRow)
    assert (row.client, row.client_fields["name"], row.domain) == ("1", "Shop", "shop.test")


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04\0\0", b"\xd0\xcf\x11\xe0\xa1\xb1", b"<html><table>", b"<?xml version"]
)
def test_workbook_is_refused_with_what_to_do(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "list.xlsx"
    path.write_bytes(data)
    for read in (guess_format, lambda p: list(csv_format.read(p))):
        with pytest.raises(UsageError, match="save it as CSV"):
            read(path)
