"""Why an order ends without a certificate, or is not decided yet."""

from __future__ import annotations

from typing import Any

from inventory.errors import CertmgrError
from inventory.names import display


class NamesFailed(CertmgrError):
    """The CA could not validate some names.

    Attributes:
        names: Name -> the CA's reason.
    """

    def __init__(self, names: dict[str, str]) -> None:
        # Ten names are enough for a message. All of them are stored with their reasons.
        reasons = "; ".join(f"{display(n)}: {w}" for n, w in list(names.items())[:10])
        super().__init__(
            f"The CA could not validate {len(names)} name(s)",
            reasons,
            "Run certmgr issue --preflight to see what each name needs.",
        )
        self.names = names

    def __reduce__(self) -> Any:
        return NamesFailed, (self.names,)


class OrderExpired(CertmgrError):
    """The order cannot be completed any more; a new order is necessary."""


class OrderPending(CertmgrError):
    """The CA has not decided yet. A later run continues the order.

    Attributes:
        retry_after: Seconds after which the CA asks to poll again; None if it did not ask.
    """

    def __init__(
        self, what: str, why: str = "", todo: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(what, why, todo)
        self.retry_after = retry_after

    def __reduce__(self) -> Any:
        return OrderPending, (self.what, self.why, self.todo, self.retry_after)
