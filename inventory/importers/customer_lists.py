"""Headers of real customer lists: which of their columns is which of ours. Pure.

Sources of the names: the reports Clients, Domains and Services of WHMCS and its table tblclients;
the fields gen_info of customers and subscriptions in the XML API of Plesk; the columns of List
Accounts in WHM and the fields of listaccts in its API; and spreadsheets in several languages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from inventory.errors import UsageError
from inventory.text import printable

FIRST_NAME, LAST_NAME = "first_name", "last_name"
# Our column -> names of it elsewhere, as :func:`plain` writes them. A name that stands earlier
# wins, so that "User ID" of a domain list is the client and not "ID".
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "client": (
        *("customernumber", "customerno", "customerid", "clientnumber", "clientno", "clientid"),
        *("customercode", "clientcode", "kundennummer", "kundennr", "kdnr", "kundenid"),
        *("kundenno", "debitornummer", "debitor", "debitorennummer", "numeroclient"),
        *("numerodeclient", "nclient", "noclient", "nodeclient", "codeclient", "refclient"),
        *("referenceclient", "numerodecliente", "numerocliente", "ncliente", "nocliente"),
        *("nodecliente", "idcliente", "codicecliente", "codigocliente", "codigodecliente"),
        *("klantnummer", "klantnr", "klantid", "klantcode", "numerklienta", "nrklienta"),
        *("idklienta", "kodklienta", "cislozakaznika", "idzakaznika"),
        *("cisloklienta", "kundnummer", "kundnr", "kundid", "kundenummer", "kundenr", "kundeid"),
        *("asiakasnumero", "asiakasnro", "ugyfelszam", "ugyfelkod", "codclient", "musterino"),
        *("musterinumarasi", "номерклиента", "кодклиента"),
        *("customer", "accountnumber", "accountid", "userid", "custid", "ownerlogin", "ownerid"),
        *("username", "login", "user", "account", "id", "nr", "no", "number", "codice", "codigo"),
    ),
    "client_name": (
        *("companyname", "company", "customername", "clientname", "organization"),
        *("organisation", "firma", "firmenname", "unternehmen", "kundenname", "societe"),
        *("entreprise", "raisonsociale", "nomduclient", "nomclient", "empresa", "razonsocial"),
        *("razaosocial", "nombredelcliente", "nombrecliente", "nomedocliente", "nomecliente"),
        *("azienda", "ragionesociale", "societa", "bedrijf", "bedrijfsnaam", "klantnaam"),
        *("nazwafirmy", "nazwaklienta", "nazwa", "nazevfirmy", "nazevspolecnosti", "spolecnost"),
        *("nazev", "nazov", "nazovfirmy", "spolocnost", "foretag", "foretagsnamn", "kundnamn"),
        *("virksomhed", "virksomhet", "firmanavn", "kundenavn", "navn", "namn", "yritys"),
        *("yrityksennimi", "nimi", "cegnev", "denumire", "numeclient", "firmaadi", "unvan"),
        *("компания", "организация", "названиекомпании", "название"),
        *("cname", "name", "nom", "nombre", "nome", "naam", "displayname"),
    ),
    "domain": (
        *("domain", "domains", "domainname", "domainnames", "domane", "domanen", "domaene"),
        *("domaenen", "primarydomain", "asciiname", "maindomain", "hauptdomain"),
        *("internetadresse", "nomdedomaine", "nomsdedomaine", "domaine", "domaines", "dominio"),
        *("dominios", "domini", "nombrededominio", "nombredominio", "nomeadominio"),
        *("nomedominio", "nomededominio", "nomedidominio", "domeinnaam", "domeinnamen"),
        *("domein", "domeinen", "domena", "domeny", "nazwadomeny", "domenyinternetowe"),
        *("nazevdomeny", "domenovejmeno", "doman", "domanmn", "domannamn", "domaner", "domene"),
        *("domener", "domenenavn", "domaenenavn", "domaener", "verkkotunnus", "domainnev"),
        *("domeniu", "domenii", "alanadi", "домен", "доменноеимя", "домены"),
        *("hostname", "host", "fqdn", "website", "webseite", "site", "siteweb", "sitioweb"),
        *("sitoweb", "websiteurl", "webhely", "webbplats", "hjemmeside", "nettside", "homepage"),
        *("subscription", "url", "web"),
    ),
    "email": (
        *("email", "emailaddress", "emailaddresses", "mail", "mailadresse", "emailadresse"),
        *("courriel", "adresseemail", "adressemail", "adressecourriel", "correo"),
        *("correoelectronico", "correioeletronico", "indirizzoemail", "postaelettronica"),
        *("emailadres", "epost", "epostadress", "epostadresse", "eposta", "adresemail"),
        *("adresaemail", "sahkoposti", "emailcim", "contactemail", "primaryemail", "почта"),
        *("электроннаяпочта",),
    ),
    "phone": (
        *("phone", "phonenumber", "telephone", "telefon", "telefonnummer", "tel", "rufnummer"),
        *("telefono", "telefone", "telefoon", "telefoonnummer", "telefonnumber", "nrtelefonu"),
        *("numertelefonu", "telefonszam", "mobile", "mobil", "handy", "mobiltelefon", "puhelin"),
        *("puhelinnumero", "телефон"),
    ),
    "contact": (
        *("contact", "contactname", "contactperson", "ansprechpartner", "kontakt", "kontaktperson"),
        *("interlocuteur", "nomducontact", "contacto", "personadecontacto", "pessoadecontacto"),
        *("contato", "contatto", "referente", "contactpersoon", "osobakontaktowa"),
        *("kontaktniosoba", "yhteyshenkilo", "kapcsolattarto", "persoanadecontact"),
        *("fullname", "pname", "контактноелицо", "customername"),
    ),
    FIRST_NAME: ("firstname", "vorname", "prenom", "nombredepila", "voornaam", "imie", "jmeno"),
    LAST_NAME: ("lastname", "surname", "nachname", "nomdefamille", "apellido", "apellidos"),
    "language": ("language", "sprache", "langue", "idioma", "lingua", "taal", "jezyk", "jazyk"),
    "server": (
        *("server", "servername", "serveur", "servidor", "serverhost", "webserver", "hostserver"),
        *("serveurweb", "servidorweb", "serverweb", "webserveur", "machine", "maschine", "node"),
        *("palvelin", "serwer", "serwerwww", "webbserver", "hostingserver", "сервер"),
    ),
    "note": ("note", "notes", "bemerkung", "bemerkungen", "notiz", "notizen", "remarques", "notas"),
}
# Words for the customer. Such a column has numbers in one list, and names in another.
_CUSTOMERS = (
    *("kunde", "cliente", "clientes", "klant", "klient", "zakaznik", "kund", "asiakas", "ugyfel"),
    *("musteri", "клиент", "subscriber"),
)
_COMPANIES = ("companyname", "company", "organization", "organisation")
# A column with the state of a customer or service, and the states of those that have ended, as
# :func:`plain` writes them.
_STATES = frozenset({"status", "state", "statut", "estado", "stato", "stan", "stav", "zustand"})
_ENDED = frozenset(
    {
        *("cancelled", "canceled", "terminated", "fraud", "expired", "transferredaway", "closed"),
        *("deleted", "gekundigt", "beendet", "geschlossen", "storniert", "geloscht", "resilie"),
        *("annule", "termine", "expire", "cancelado", "terminado", "baja", "cerrado", "encerrado"),
        *("cessato", "annullato", "scaduto", "disdetto", "opgezegd", "beeindigd", "verlopen"),
        *("anulowany", "anulowana", "zakonczony", "wygasla", "zruseno", "ukonceno"),
    }
)
# Names of a column that numbers the rows as often as the customers.
ROW_NUMBERS = frozenset({"id", "nr", "no", "number"})
_ADDRESS = {"city", "postcode", "pcode", "zip", "zipcode", "postalcode", "address1", "country"}
_LANGUAGES = {
    "english": "en",
    "englisch": "en",
    "german": "de",
    "deutsch": "de",
    "french": "fr",
    "français": "fr",
    "spanish": "es",
    "español": "es",
    "italian": "it",
    "italiano": "it",
    "dutch": "nl",
    "nederlands": "nl",
}
# The first word of a row of sums, as billing programs and spreadsheets write it below a list.
_TOTALS = frozenset(
    {
        *("total", "totals", "subtotal", "grandtotal", "sum", "summary", "summe", "gesamt"),
        *("gesamtsumme", "gesamtzahl", "zwischensumme", "insgesamt", "somme", "soustotal"),
        *("totaux", "totale", "totali", "totales", "totaal", "subtotaal", "suma", "razem"),
        *("summa", "totalt", "yhteensä"),
    }
)
# An amount or a count: 1,234.00 EUR, $12, 57, 57 clients.
_AMOUNT = re.compile(r"[^\w]*[\d.,'\s]*\d[^\w]*([^\W\d_]+)?")
# Characters. A longer text is no amount, and would take the expression minutes.
_MAX_AMOUNT = 100
# What Excel makes of a number such as 1-2 or 100000000000000.
_EXCEL_VALUE = re.compile(
    r"\d{1,2}[.-] ?[A-Za-zäÄé]{3,9}\.?(-?\d{2,4})?|[A-Z][a-z]{2}-\d{2}|\d[.,]\d+E\+\d+"
    r"|\d{1,2}[./]\d{1,2}[./]\d{2,4}( .*)?|\d{4}-\d\d-\d\d( 0?0:00(:00)?)?"
    r"|(?:Jan|Feb|Mär|Mrz|Mar|Apr|Mai|May|Jun|Jul|Aug|Sep|Okt|Oct|Nov|Dez|Dec)\.? \d{2,4}"
    # Numbers with separators of thousands or with decimals.
    r"|\d{1,3}(?:[ \u00a0\u202f'’]\d{3})+|\d{1,3}(?:,\d{3})+|\d+[.,]0+"
    # Errors of formulas, and columns that are too narrow.
    r"|#(?:N/A|NV|REF!|BEZUG!|VALUE!|WERT!|NAME\?|DIV/0!|NUM!|ZAHL!|NULL!|#+)"
)
# Letters that have no accent to remove.
_LETTERS = str.maketrans({"\u0142": "l", "\u00f8": "o", "\u00e6": "ae", "\u0131": "i"})
# "Eva Rosen <eva@rosen.example>", as mail programs write it.
_IN_BRACKETS = re.compile(r"<\s*([^<>\s]{1,320})\s*>")


def plain(name: str) -> str:
    """Return the name of a column without case, accents, blanks and punctuation."""
    # "N\u00ba" is written for "number", and would become "no" like it.
    parts = unicodedata.normalize("NFKD", name.casefold().translate(_LETTERS))
    text = "".join(c for c in parts if not unicodedata.combining(c))
    return re.sub(r"[\s_\-./:#()\u00b0'\u2019]+", "", text)


def parse_map(texts: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Return our column -> column of the file, from COLUMN=HEADER texts.

    Raises:
        UsageError: A text has another form, or the column is not one of ours.
    """
    mapping = {}
    for text in texts:
        column, equals, header = text.partition("=")
        if not equals or column.strip() not in columns:
            raise UsageError(
                f"'{printable(text, 60)}' is not a mapping of a column",
                "it has the form COLUMN=HEADER",
                f"Such as --map client=Kundennummer. The columns are {', '.join(columns)}.",
            )
        mapping[column.strip()] = header.strip()
    return mapping


def guess(header: Sequence[str], ours: Sequence[str]) -> dict[str, str]:
    """Return our column -> column of the file, for the names that are known.

    Our own names win; each column of the file is used once.
    """
    by_plain: dict[str, str] = {}
    for name in header:
        # The first of two similar columns counts.
        by_plain.setdefault(plain(name), name)
    # An export of certmgr is read by its own columns, whatever else its headers resemble.
    found = {c: by_plain[plain(c)] for c in ours if plain(c) in by_plain}
    # Next to a city, "State" is a part of an address, and not the state of a domain.
    if has_address(header):
        found.pop("state", None)
    # A subscription of Plesk has the domain in "name", and again in A-labels.
    if "asciiname" in by_plain:
        by_plain.pop("name", None)
    for column, names in KNOWN_NAMES.items():
        if column not in found:
            match = next(
                (by_plain[n] for n in names if n in by_plain and by_plain[n] not in found.values()),
                None,
            )
            if match is not None:
                found[column] = match
    # A billing program has the person in "Client Name" next to the company.
    company = next((by_plain[n] for n in _COMPANIES if n in by_plain), None)
    if company is not None and plain(found.get("client_name", "")) == "clientname":
        found.setdefault("contact", found["client_name"])
        found["client_name"] = company
    customers = (by_plain[n] for n in _CUSTOMERS if n in by_plain)
    customer = next((c for c in customers if c not in found.values()), None)
    # Next to a number it is the name. Alone, or next to a name, it is what identifies the customer.
    if customer is not None:
        found.setdefault("client_name" if "client" in found else "client", customer)
    # In our order, which begins with the client; the columns that are joined come last.
    return {c: found[c] for c in dict.fromkeys((*ours, *KNOWN_NAMES)) if c in found}


def has_address(header: Sequence[str]) -> bool:
    """Return whether a list has postal addresses, of which "State" is a part then."""
    return not _ADDRESS.isdisjoint(map(plain, header))


def state_column(header: Sequence[str]) -> str:
    """Return the column with the state of each customer or service; empty without one."""
    names = _STATES - {"state"} if has_address(header) else _STATES
    return next((name for name in header if plain(name) in names), "")


def has_ended(state: str) -> bool:
    """Return whether a state means that the customer or service has left."""
    return plain(state) in _ENDED


def our_cells(cells: Mapping[str, str], *, foreign: bool = False) -> dict[str, str]:
    """Return the cells of a list as ours: a joined name, one language code.

    Args:
        cells: Our column -> cell.
        foreign: Whether another program wrote the list.
    """
    row = dict(cells)
    person = f"{row.pop(FIRST_NAME, '')} {row.pop(LAST_NAME, '')}".strip()
    # Billing programs have the name of a person in two columns.
    if person:
        row.setdefault("contact", person)
    # A private customer has no company.
    if not row.get("client_name") and (person or (foreign and row.get("contact"))):
        row["client_name"] = person or row["contact"]
    if row.get("language"):
        row["language"] = _LANGUAGES.get(row["language"].casefold(), row["language"])
    return row


def is_total(row: Mapping[str, str]) -> bool:
    """Return whether a row is a sum below the list, and not a customer.

    The first of its texts is a word for a sum, and all others are amounts. A row with a domain, an
    address or a name is a customer, whatever its number is.

    Args:
        row: Our column -> cell.
    """
    stated = [text for text in row.values() if text]
    # Lists without a number in the row of sums have the word in another column.
    texts = [t for t in stated if len(t) > _MAX_AMOUNT or not _AMOUNT.fullmatch(t)]
    label = row.get("client") or next(iter(texts), "")
    words = re.findall(r"[^\W\d_]+", label.casefold())
    if not words or _TOTALS.isdisjoint({words[0], "".join(words[:2])}):
        return False
    # A program may repeat the label in another column.
    return all(text == label for text in texts)


def addresses_of(cell: str) -> list[str]:
    """Return the mail addresses of a cell, which mail programs and spreadsheets wrote."""
    found = _IN_BRACKETS.findall(cell) or re.split(r"[\s,;|]+", cell)
    return list(dict.fromkeys(w for f in found if (w := re.sub(r"(?i)^mailto:", "", f))))


def domains_of(cell: str) -> list[str]:
    """Return the names of a cell, which may hold URLs and several names."""
    parts = [p.strip() for p in re.split(r"[,;|\n]+", cell) if p.strip()]
    # Blanks separate names too, but not the words of an invalid name.
    words = [w for p in parts for w in (p.split() if all("." in w for w in p.split()) else [p])]
    return list(dict.fromkeys(_host(w) for w in words)) or [""]


def _host(text: str) -> str:
    if "://" not in text and "/" not in text:
        # A name in a zone ends with a dot.
        return text.removesuffix(".")
    try:
        return urlsplit(text if "://" in text else f"//{text}").hostname or text
    except ValueError:
        return text


def changed_by_excel(value: str) -> bool:
    """Return whether a spreadsheet has replaced a number by a date or a rounded number."""
    return bool(_EXCEL_VALUE.fullmatch(value))
