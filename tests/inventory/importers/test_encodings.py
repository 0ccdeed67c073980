"""The encoding of lists that do not state it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventory.errors import UsageError
from inventory.importers import csv_format
from inventory.importers.encodings import decode_text

LISTS = (
    (
        "cp1250",
        "client,domain,name\n1,a.cz,Dvořák s.r.o.\n2,b.pl,Łódź Świętego\n3,c.hu,Szőlő Kft\n",
    ),
    ("cp1250", "1,neco.cz,Nečas\n"),
    ("cp1250", "1,zolw.pl,Żółw\n"),
    ("cp1251", "клиент;домен;имя\n1;a.ru;ООО Ромашка\n"),
    ("cp1251", "1,a.com,ООО Ромашка\n"),
    ("cp1253", "1,a.gr,Παπαδόπουλος ΑΕ\n"),
    ("cp1254", "1,a.com.tr,Yıldız Ticaret Şti\n2,b.com,Güneş\n"),
    ("mac_roman", "1,a.de,Müller\n2,b.de,Bäckerei Größe\n3,c.fr,Café Élan\n"),
    ("mac_roman", "1,a.es,Señor Peña\n"),
    ("cp850", "1,a.de,Müller GmbH\n2,b.de,Bäckerei\n"),
    ("cp1252", "1,a.de,Müller – „Größe“, 5 €\n"),
    ("cp1252", "1,a.dk,Sørensen ApS\n2,b.se,Göteborg\n"),
    ("cp1252", "1,a.pt,Simões e Irmãos\n"),
    ("cp1252", "1,a.it,Città è più\n"),
    ("cp1252", "1,a.is,Þór Ægir\n"),
    ("utf-8", "1,a.de,Müller\n"),
    ("utf-8-sig", "1,a.de,Müller\r\n2,b.de,Größe\n3,c.de,x\r"),
    ("utf-16", "1\ta.cz\tDvořák\n"),
)


@pytest.mark.parametrize(("encoding", "text"), LISTS)
def test_letters_of_a_list_are_read(encoding: str, text: str) -> None:
    decoded = decode_text(text.encode(encoding))
    assert decoded.text == text
    assert decoded.guessed is not encoding.startswith("utf")
    # The words by which a reader can check the guess are those of the list.
    assert all(word in text for word in decoded.examples())
    assert bool(decoded.remark) is decoded.guessed


def test_list_with_one_line_in_another_encoding_stays_utf_8() -> None:
    joined = (
        "\n".join(f"{n},shop{n}.de,Müller" for n in range(20)).encode() + b"\n21,x.de,M\xfcller"
    )
    assert decode_text(joined).text.count("Müller") == 20


def test_named_encoding_wins_over_the_guess(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("client,domain,client_name\n1,a.com,Nečas\n".encode("cp1250"))
    (row,) = csv_format.rows_of(csv_format.open_list(path, encoding="windows-1250"))
    assert "Nečas" in str(row)
    with pytest.raises(UsageError, match="'windows-125' is not an encoding"):
        csv_format.open_list(path, encoding="windows-125")


def test_examples_of_a_long_ascii_word_take_linear_time() -> None:
    # A search from each of its letters would take an hour.
    assert decode_text(b"a" * 190_000 + b" M\xfcller", "").examples() == ("Müller",)
