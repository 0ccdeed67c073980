"""Reads customer lists: CSV with one row per endpoint, its client and contact (docs/import.md)."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inventory.errors import UsageError
from inventory.importers.customer_lists import (
    ROW_NUMBERS,
    addresses_of,
    changed_by_excel,
    domains_of,
    guess,
    has_address,
    has_ended,
    is_total,
    our_cells,
    parse_map,
    plain,
    state_column,
)
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.format import Certainty, ImportFormat, ImportSource, Rows, SourceSample
from inventory.importers.plan import ImportPlan
from inventory.importers.table import Table, read_source
from inventory.text import printable

COLUMNS = (
    "client",
    "client_name",
    "account_manager",
    "contact",
    "contact_role",
    "email",
    "phone",
    "language",
    "time_zone",
    "server",
    "domain",
    "purpose",
    "paths",
    "policy",
    "hosts",
    "dns",
    "buys",
    "renews",
    "state",
    "endpoint",
    "addresses",
    "tags",
    "note",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerList:
    """A CSV file and how its columns are read.

    Attributes:
        table: The file.
        mapping: Our column -> column of the file.
        ignored: Columns of the file that are not used.
        guessed: Whether columns have other names than ours.
        similar: Column that is not used -> our column that its name resembles.
        states: The column with the state of each customer or service; empty without one.
    """

    table: Table
    mapping: dict[str, str]
    ignored: tuple[str, ...]
    guessed: bool
    similar: dict[str, str]
    states: str = ""


def open_list(
    path: Path, mapped: Mapping[str, str] | None = None, client: str = "", encoding: str = ""
) -> CustomerList:
    """Open a customer list, and find its columns.

    Args:
        path: The file.
        mapped: Our column -> column of the file, as the user gave it; it wins over a guess.
        client: Customer number of rows without one.
        encoding: The encoding that the user named; empty to find it.

    Raises:
        UsageError: The file cannot be read, or a column that is needed was not found.
    """
    given = dict(mapped or {})

    def is_header(cells: Sequence[str]) -> bool:
        if given:
            return set(given.values()) <= set(cells)
        known = guess(cells, COLUMNS)
        return bool(known.keys() & {"client", "domain"}) and (
            len(known) > 1 or len([c for c in cells if c]) == 1
        )

    table = Table(path, read_source(path), is_header, encoding)
    _require_mapped(path, table, given)
    mapping = _mapping(table.header, given)
    foreign = any(ours != theirs.lower() for ours, theirs in mapping.items())
    _refuse_repeated(path, table, mapping)
    if "client" not in given:
        _refuse_row_numbers(path, table, mapping)
    similar = _similar(table.header, mapping)
    # A misspelt column of ours would be ignored, and its values lost. The list of another program
    # has columns that only resemble ours, such as "Contract" or "Webserver".
    if similar and not foreign:
        name, ours = next(iter(similar.items()))
        raise UsageError(
            f"{path}:{table.line}: unknown column '{printable(name, 60)}'",
            "",
            f"Did you mean '{ours}'?",
        )
    # Every record belongs to a client; there is no default.
    if "client" not in mapping and not client:
        raise UsageError(
            f"{path}:{table.line} has no column 'client'",
            "each row needs the number of its customer",
            _how_to_name_clients(table.header, mapping),
        )
    # Reported, so that a column with another name than expected is not missed silently.
    used = set(mapping.values())
    ignored = tuple(n for n in table.header if n and n not in used)
    # The states of certmgr's own lists are those of domains, and are checked as such.
    states = state_column(ignored) if foreign else ""
    return CustomerList(
        table=table,
        mapping=mapping,
        ignored=ignored,
        guessed=foreign,
        similar=similar,
        states=states,
    )


def _mapping(header: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return our column -> column of the file, as given or else guessed."""
    taken = set(given.values())
    # A column that the user mapped is not guessed a second time.
    guessed = guess([n for n in header if n not in taken], COLUMNS)
    return {**{k: v for k, v in guessed.items() if k not in given}, **given}


def _how_to_name_clients(header: Sequence[str], mapping: Mapping[str, str]) -> str:
    names = mapping.get("client_name")
    example = f"'{printable(names, 60)}'" if names else "HEADER"
    also = ", if its names may serve as numbers" if names else ""
    columns = printable(", ".join(n for n in header if n), 300)
    return (
        f"Name its column: --map client={example}{also}. Or give --client NUMBER for all rows."
        + (f" The columns of the file are {columns}." if columns else "")
    )


def _require_mapped(path: Path, table: Table, given: Mapping[str, str]) -> None:
    for column, name in given.items():
        if name not in table.header:
            raise UsageError(
                f"{path}:{table.line} has no column '{printable(name, 60)}'",
                f"--map {column}=... names a column of the file",
                f"They are {printable(', '.join(table.header), 300)}.",
            )


def _refuse_repeated(path: Path, table: Table, mapping: Mapping[str, str]) -> None:
    for name in mapping.values():
        if table.header.count(name) > 1:
            raise UsageError(
                f"{path}:{table.line}: the column '{printable(name, 60)}' occurs twice",
                "",
                "Remove one.",
            )


def _refuse_row_numbers(path: Path, table: Table, mapping: Mapping[str, str]) -> None:
    """Refuse a guessed "ID" that gives one customer several numbers.

    A list of domains or services numbers its rows. Read as the customer's number, it would make a
    client of each domain.
    """
    numbers_rows = plain(mapping.get("client", "")) in ROW_NUMBERS
    # In a list of customers alone, two of one name are two customers.
    if not numbers_rows or not {"client_name", "domain"} <= mapping.keys():
        return
    number, name = (table.header.index(mapping[c]) for c in ("client", "client_name"))
    first: dict[str, str] = {}
    for _, cells in table.rows():
        if isinstance(cells, str) or len(cells) <= max(number, name) or not cells[name]:
            continue
        known = first.setdefault(cells[name].casefold(), cells[number])
        if cells[number] not in (known, ""):
            column, shown = printable(mapping["client"], 60), printable(cells[name], 60)
            raise UsageError(
                f"{path}:{table.line}: the column '{column}' is not the customer's number",
                f"'{shown}' has {printable(known, 20)} and {printable(cells[number], 20)} there,"
                " so it numbers the rows",
                "Export the list with the customer's number, or name its column:"
                f" --map client=HEADER. If it is the number all the same: --map client={column}.",
            )


def _similar(header: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Return column of the file -> our column without one that its name resembles."""
    similar = {}
    # Next to a city, "State" is no column of ours.
    ours = [c for c in COLUMNS if c != "state" or not has_address(header)]
    for name in header:
        near = difflib.get_close_matches(name.lower(), ours, n=1, cutoff=0.8) if name else []
        if near and name not in mapping.values() and near[0] not in mapping:
            similar[name] = near[0]
    return similar


def read(
    path: Path, client: str = "", mapped: Mapping[str, str] | None = None
) -> Iterator[ImportRow | ImportProblem]:
    """Yield each row of the file, or a problem for an invalid row. See :func:`rows_of`.

    Raises:
        UsageError: The file or its header is unusable.
    """
    yield from rows_of(open_list(path, mapped, client), client)


def rows_of(source: CustomerList, client: str = "") -> Iterator[ImportRow | ImportProblem]:
    """Yield each row of a list, or a problem for an invalid row.

    Args:
        source: The list.
        client: Customer number of all rows. A row of another number is a problem.
    """
    positions = {column: source.table.header.index(n) for column, n in source.mapping.items()}
    states = source.table.header.index(source.states) if source.states else None
    for where, cells in source.table.rows():
        # The rest of the file is still read, so that one run reports all problems.
        if isinstance(cells, str):
            yield ImportProblem(where, cells)
            continue
        row = our_cells(
            {c: cells[i] for c, i in positions.items() if i < len(cells)}, foreign=source.guessed
        )
        # Like an empty row, it has nothing to import. Read as a row, it would become a client.
        if is_total(row):
            continue
        # Billing programs list customers who have left, and they must not get notices.
        if states is not None and states < len(cells) and has_ended(cells[states]):
            yield ImportProblem(
                where,
                f"its {printable(source.states, 40)} is '{printable(cells[states], 40)}'; to import"
                " it nevertheless, clear that cell",
            )
            continue
        number = row.get("client", "")
        if changed_by_excel(number):
            yield ImportProblem(
                where,
                f"'{printable(number, 40)}' is not a customer number: the spreadsheet has changed"
                " it; format the column as text and export again",
            )
            continue
        # A list of one client must not change the records of another.
        if client and number not in ("", client):
            yield ImportProblem(
                where, f"the row is of the client {printable(number, 60)}, and --client is {client}"
            )
            continue
        # A cell may hold several names; each becomes a row with the same client and contact.
        for domain in domains_of(row.get("domain", "")):
            yield row_from_cells(where, row | {"client": number or client, "domain": domain})


def read_cells(
    path: Path, columns: Sequence[str], needed: str
) -> Iterator[tuple[str, dict[str, str] | str]]:
    """Yield (file and line, column -> cell) per row that is not empty.

    For an unreadable row, the reason is yielded instead of the cells.

    Args:
        path: The file; its first line contains the column names.
        columns: Known columns.
        needed: Column that the header must have.

    Raises:
        UsageError: The file or its header is unusable.
    """
    table = Table(path, read_source(path))
    names = [n.lower() for n in table.header]
    # Without this column, the file is another table.
    if needed not in names:
        raise UsageError(
            f"{path}:{table.line} has no column '{needed}'",
            "the first line names the columns",
            f"They are {', '.join(columns)}.",
        )
    for name in names:
        if name not in columns:
            # For a misspelt column, the nearest known name is suggested.
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"They are {', '.join(columns)}."
            raise UsageError(
                f"{path}:{table.line}: unknown column '{printable(name, 60)}'", "", hint
            )
        if names.count(name) > 1:
            raise UsageError(
                f"{path}:{table.line}: the column '{name}' occurs twice", "", "Remove one."
            )
    for where, cells in table.rows():
        yield where, cells if isinstance(cells, str) else dict(zip(names, cells, strict=False))


def row_from_cells(where: str, row: dict[str, str]) -> ImportRow:
    """Return the import row of one line of the file."""

    def filled(*names: str) -> dict[str, str]:
        return {n: row[n] for n in names if row.get(n)}

    client = {
        k.removeprefix("client_"): v for k, v in filled("client_name", "account_manager").items()
    }
    contact = {
        k.removeprefix("contact_"): v
        for k, v in filled("contact_role", "language", "time_zone").items()
    }
    # Phone numbers contain spaces, so they are separated by commas.
    methods = [f"email:{v}" for v in addresses_of(row.get("email", ""))]
    methods += [f"phone:{v.strip()}" for v in row.get("phone", "").split(",") if v.strip()]
    return ImportRow(
        where,
        client=row.get("client", ""),
        client_fields=client,
        contact=row.get("contact", ""),
        contact_fields=contact,
        contact_methods=methods,
        server=row.get("server", ""),
        domain=row.get("domain", ""),
        domain_fields=filled(
            "purpose", "paths", "policy", "hosts", "dns", "buys", "renews", "state", "note"
        ),
        target=row.get("endpoint", ""),
        addresses=row.get("addresses", "").split(),
        tags=row.get("tags", "").split(),
    )


EXAMPLE = (
    ",".join(COLUMNS)
    + "\n1001,Rosen GmbH,Ada,Eva Rosen,owner,eva@rosen.example,+49 30 1234,de,Europe/Berlin,web1,"
    "rosen.example,site,/login,required,us,us,client,client,active,rosen.example:443,,shop,\n"
    "1002,Caf\u00e9 Blau,,Max Blau,owner,max@blau.example,,de,,web1,blau.example,,,,,,,,,,,,\n"
    "1002,,,,,,,,,web2,mail.blau.example,mail,,,,,,,,mail.blau.example:993/imap,,,\n"
)


def _add(plan: ImportPlan, source: ImportSource) -> Rows:
    """Return the rows of a customer list; show how its text and its columns are read."""
    found = open_list(
        source.path, parse_map(source.mapped, COLUMNS), source.client, source.encoding
    )
    # A wrong guess would put wrong letters into the names of clients, and so into notices.
    if remark := found.table.decoded.remark:
        source.remark(remark)
    if found.guessed or found.ignored:
        named = ", ".join(f"{ours}={theirs}" for ours, theirs in found.mapping.items())
        source.remark(f"Columns: {printable(named, 600)}. To change one: --map COLUMN=HEADER.")
    if found.ignored:
        source.remark(f"Not used: {printable(', '.join(found.ignored), 600)}.")
    for theirs, ours in found.similar.items():
        option = f"--map {shlex.quote(f'{ours}={theirs}')}"
        source.hint(f"If '{printable(theirs, 60)}' is {ours}, add: {printable(option, 100)}")
    return rows_of(found, source.client)


def _has_known_columns(sample: SourceSample) -> bool:
    header = Table(sample.path, sample.data).header
    # One column could be a list of names whose first line is a title.
    return len(header) > 1 and bool({"client", "domain"} & set(guess(header, COLUMNS)))


FORMAT = ImportFormat(
    name="csv",
    summary="a customer list: a table with a row per endpoint",
    read=_add,
    signs={Certainty.COLUMNS: _has_known_columns},
    names_clients=True,
    options=frozenset({"--map", "--encoding"}),
)
