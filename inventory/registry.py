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


def module_names(package: ModuleType) -> tuple[str, ...]:
    """Return the names of the modules of a package in their order, without importing them."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__)))


def declaration(package: ModuleType, module: str, attribute: str, record: type[_Record]) -> _Record:
    """Return the record that a module of a package declares.

    Args:
        package: The package.
        module: The name of the module, which is imported.
        attribute: The name that the module gives to its record.
        record: The type of the record.

    Raises:
        TypeError: The module declares no such record.
    """
    value = getattr(importlib.import_module(f"{package.__name__}.{module}"), attribute, None)
    if not isinstance(value, record):
        raise TypeError(f"{package.__name__}.{module}.{attribute} is not a {record.__name__}")
    return value


def declared(package: ModuleType, attribute: str, record: type[_Record]) -> Iterator[_Record]:
    """Yield the record of each module of a package that declares one, by the names of the modules.

    Modules without the attribute are what the others share. All are imported.

    Raises:
        TypeError: What a module declares under that name is no such record.
    """
    for name in module_names(package):
        module = importlib.import_module(f"{package.__name__}.{name}")
        if hasattr(module, attribute):
            yield declaration(package, name, attribute, record)
