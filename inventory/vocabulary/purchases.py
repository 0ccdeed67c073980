"""Words of purchased certificates. Pure."""

from enum import StrEnum


class Validation(StrEnum):
    """What the CA validates: the domain, the organisation, or both to the EV Guidelines."""

    DV = "dv"
    OV = "ov"
    EV = "ev"


class ProductKind(StrEnum):
    """The names that a purchased certificate may have."""

    SINGLE = "single"
    MULTI = "multi"
    WILDCARD = "wildcard"


class PurchaseState(StrEnum):
    """State of a purchase. One whose term is over stays active."""

    ACTIVE = "active"
    CANCELLED = "cancelled"
