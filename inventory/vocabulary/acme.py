"""Words of ACME accounts, lineages, orders and deployments. Pure."""

from enum import StrEnum


class LineageState(StrEnum):
    """State of a lineage. A paused one is not renewed."""

    ACTIVE = "active"
    PAUSED = "paused"
    RETIRED = "retired"


class LineageNameState(StrEnum):
    """State of a name of a lineage. A quarantined one is left out of certificates."""

    ACTIVE = "active"
    QUARANTINED = "quarantined"


class AccountState(StrEnum):
    """State of an ACME account."""

    # Committed before the CA is asked, so that a death in between leaves a row to continue.
    PENDING = "pending"
    ACTIVE = "active"
    LOST = "lost"  # the CA does not know it any more
    RETIRED = "retired"


class DeploymentState(StrEnum):
    """State of a certificate at one deployment target."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"  # by a newer certificate


class OrderState(StrEnum):
    """State of an ACME order. inventory/store/acme_orders.py has what is durable before which."""

    INTENDED = "intended"
    KEYED = "keyed"  # its key is stored, and its CSR recorded
    ASKED = "asked"  # committed before the CA is asked
    PENDING = "pending"
    FINALIZING = "finalizing"
    ISSUED = "issued"
    # The order has ended in one of these.
    DONE = "done"
    FAILED = "failed"
    ABANDONED = "abandoned"


class RateEventKind(StrEnum):
    """What counts against a rate limit of a CA."""

    ORDER = "order"
    CERTIFICATE = "certificate"
    FAILURE = "failure"  # of the validation of a name


class OnFailedName(StrEnum):
    """Whether a certificate may be issued without a name in quarantine: on approval, or always."""

    ASK = "ask"
    AUTO = "auto"
