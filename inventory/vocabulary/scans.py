"""Words of scan runs and of the zones from which they visit. Pure."""

from enum import StrEnum


class RunState(StrEnum):
    """How a scan run ended. Only a complete run changes findings."""

    RUNNING = "running"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    SUSPECT = "suspect"


class ZoneScopeKind(StrEnum):
    """What a zone is assigned to. ``internal``: a name, and all below it, that only it reaches."""

    CLIENT = "client"
    SERVER = "server"
    TAG = "tag"
    INTERNAL = "internal"


class ShardRole(StrEnum):
    """What the results of a shard are to its endpoints.

    ``only``: the endpoints are visited from this zone alone. Otherwise several zones are compared:
    the results of the ``first`` zone are the state of the endpoint, and those of a ``further`` one
    are a second opinion.
    """

    ONLY = "only"
    FIRST = "first"
    FURTHER = "further"
