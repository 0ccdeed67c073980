"""The endpoints of a scan in a temporary file.

A hostile certificate with thousands of names makes a result of a megabyte, and a scan has any
number of endpoints. Memory holds one of them at a time, whatever the output is.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Self

from certmgr.cli.inspect.scan_document import ScannedEndpoint


class ScanSpool:
    """Scanned endpoints by a number, in any order; iteration returns them by that number."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: dict[int, int] = {}
        self._end = 0

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Self]:
        """Give an empty spool. Its file has no name, so that it vanishes with this process."""
        with tempfile.TemporaryFile("w+b") as file:
            yield cls(file)

    def add(self, number: int, endpoint: ScannedEndpoint) -> None:
        """Keep an endpoint."""
        line = json.dumps(endpoint.as_row(), default=str).encode() + b"\n"
        self._file.seek(self._end)
        self._file.write(line)
        self._places[number] = self._end
        self._end += len(line)

    def get(self, number: int) -> ScannedEndpoint | None:
        """Return the endpoint with this number; None if it was not added."""
        place = self._places.get(number)
        if place is None:
            return None
        self._file.seek(place)
        return ScannedEndpoint.of_row(json.loads(self._file.readline()))

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[ScannedEndpoint]:
        for number in sorted(self._places):
            self._file.seek(self._places[number])
            yield ScannedEndpoint.of_row(json.loads(self._file.readline()))
