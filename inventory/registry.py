"""Collects what the modules of a package declare.

A package of alternatives (protocols, import formats, solvers) has one module per alternative, which
declares a record of what it is. No other file lists them, so that a new one is one new file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import TypeVar

_Record = TypeVar("_Record")


def declared(package: ModuleType, attribute: str, record: type[_Record]) -> Iterator[_Record]:
    """Yield the record of each module of a package that declares one, by the names of the modules.

    Modules without the attribute are what the others share.

    Args:
        package: The package, whose modules are imported.
        attribute: The name that a module gives to its record.
        record: The type of the records.

    Raises:
        TypeError: What a module declares under that name is no such record.
    """
    for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        value = getattr(module, attribute, None)
        if value is None:
            continue
        if not isinstance(value, record):
            raise TypeError(f"{module.__name__}.{attribute} is not a {record.__name__}")
        yield value
