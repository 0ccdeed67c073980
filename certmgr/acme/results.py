"""Why a certificate is renewed, and the results of issuing and deploying it, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from certmgr.deploy.targets import TargetResult
from inventory.errors import CertmgrError


class IssueState(StrEnum):
    """How an attempt to issue a certificate ended."""

    ISSUED = "issued"
    WAITS = "waits"  # postponed until a given time
    HELD = "held"  # waits for an administrator's approval
    FAILED = "failed"
    BUSY = "busy"  # another process works on the lineage
    CURRENT = "current"  # nothing to do


class DeployState(StrEnum):
    """How the deployment of a certificate ended."""

    LIVE = "live"  # verified at all endpoints
    PLACED = "placed"  # deployed, no endpoint to verify it at
    UNSEEN = "unseen"  # an endpoint serves another certificate
    UNDETERMINED = "untold"  # a check failed
    FAILED = "failed"  # a target failed
    ROLLED_BACK = "rolled-back"
    STAFF = "staff"  # an administrator must decide
    NOTHING = "nothing"  # nothing to deploy
    BUSY = "busy"  # another process works on the lineage


@dataclass(frozen=True, slots=True)
class IssueResult:
    """The result of one attempt to issue a certificate.

    Attributes:
        lineage: The name of the lineage.
        client: The number of the client.
        state: How the attempt ended.
        message: The reason in words.
        until: The time of the next attempt in epoch seconds.
        sha256: The fingerprint of the issued certificate.
    """

    lineage: str
    client: str
    state: IssueState
    message: str
    until: int | None = None
    sha256: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the result is not a failure. A pending retry is not one."""
        return self.state in (
            IssueState.ISSUED,
            IssueState.CURRENT,
            IssueState.BUSY,
            IssueState.WAITS,
        )


@dataclass(frozen=True, slots=True)
class RenewalReason:
    """Why a certificate is renewed.

    Attributes:
        text: The reason in words.
        replaces: The ARI id of the previous certificate.
        exempt: Whether the renewal follows ARI, so that no rate limit counts it.
        urgent: Whether the certificate expires soon or is revoked.
    """

    text: str
    replaces: str | None = None
    exempt: bool = False
    urgent: bool = False


class Deferred(CertmgrError):
    """The order must wait until a given time."""

    def __init__(self, why: str, until: int) -> None:
        super().__init__(
            "The order is postponed",
            why,
            "It is retried automatically after"
            f" {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC.",
        )
        self.reason, self.until = why, until

    def __reduce__(self) -> Any:
        return Deferred, (self.reason, self.until)


@dataclass(frozen=True, slots=True)
class DeployResult:
    """The result of deploying one lineage.

    Attributes:
        lineage: The name of the lineage.
        client: The number of the client.
        state: How the deployment ended.
        message: The reason in words.
        failures: The targets that failed.
    """

    lineage: str
    client: str
    state: DeployState
    message: str
    failures: tuple[TargetResult, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether no failure has to be reported."""
        # A check that failed is not evidence of a failed deployment.
        return self.state in (
            DeployState.LIVE,
            DeployState.PLACED,
            DeployState.NOTHING,
            DeployState.BUSY,
            DeployState.UNDETERMINED,
        )
