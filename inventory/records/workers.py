"""What a command asked of a worker, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inventory.records.base import Record
from inventory.vocabulary import CallKind


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunCall(Record):
    """A call that a worker has begun. ``attempts`` includes this one."""

    id: int
    kind: CallKind
    arguments: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult(Record):
    """What a worker returns: values for JSON, and files by their names."""

    values: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallState(Record):
    """A call as the command that waits sees it. ``error``: type, what, why and todo."""

    finished: bool
    error: dict[str, str] | None
