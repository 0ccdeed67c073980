"""Lists of serial numbers."""

from __future__ import annotations

import pytest

from certmgr.cases import serial_lists


def test_serial_numbers_are_parsed_in_each_common_format_and_other_lines_are_reported() -> None:
    found, wrong = serial_lists.read_serials(
        'serial\n# from the CA\n0A:1b:2C\n0x0a1b2d\n"0a1b2e",shop.example\n\n  0a1b2c  \nnot a'
        " number\n" + "f" * 41
    )
    assert found == ["a1b2c", "a1b2d", "a1b2e"]
    assert [w.partition(":")[0] for w in wrong] == ["line 8", "line 9"]


@pytest.mark.parametrize(
    "line",
    [
        "04:a1:b2:c3:d4:e5:f6:07",
        "Serial Number: 04:a1:b2:c3:d4:e5:f6:07",
        "serialnumber=04A1B2C3D4E5F607",
        "04\u00a0A1\u00a0B2\u00a0C3\u00a0D4\u00a0E5\u00a0F6\u00a007",
        "\u201c04A1B2C3D4E5F607\u201d",
        "\ufeff04A1B2C3D4E5F607",
        "\u200e04a1b2c3d4e5f607",
        "\u2022 04A1B2C3D4E5F607",
        "12. 04A1B2C3D4E5F607",
        "04\u2013a1\u2013b2\u2013c3\u2013d4\u2013e5\u2013f6\u201307",
        '="04A1B2C3D4E5F607"',
        "shop.example;04A1B2C3D4E5F607;2026-03-04",
        "1001,04A1B2C3D4E5F607",
        # The fingerprint behind it is longer.
        "04A1B2C3D4E5F607;" + "ab" * 20,
    ],
)
def test_serial_number_is_found_as_people_and_programs_write_it(line: str) -> None:
    assert serial_lists.read_serials(line) == (["4a1b2c3d4e5f607"], [])


@pytest.mark.parametrize("line", ["not a number", "Serial Number:", "shop.example;1001", "f" * 41])
def test_line_without_a_serial_number_is_reported(line: str) -> None:
    found, wrong = serial_lists.read_serials(f"# list\n{line}\n")
    assert not found and len(wrong) == 1
