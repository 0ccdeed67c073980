"""A CA in this process that departs from RFC 8555 at chosen steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.certmgr.acme.inprocess import Ca

Reply = tuple[int, dict[str, str], Any]
Fault = Reply | Callable[[Reply], Reply]


def problem(kind: str, detail: str = "", status: int = 400, **more: Any) -> Reply:
    """Return a problem document; ``headers`` may be given."""
    headers = more.pop("headers", {})
    document = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail or kind, **more}
    return status, {"Content-Type": "application/problem+json", **headers}, document


def document(**changes: Any) -> Callable[[Reply], Reply]:
    """Return the usual answer with changes to its document."""
    return lambda usual: (usual[0], usual[1], {**usual[2], **changes})


@dataclass
class StrangeCa(Ca):
    """A CA with faults.

    Attributes:
        faults: Step of the URL, such as ``newOrder`` -> the answers to its next requests. None
            among them is the usual answer; the last one repeats if it stands in ``lasting``.
        lasting: Step -> the answer to each of its requests.
        validated_by_http: Whether orders have an http-01 challenge, which always succeeds.
        asked: The steps that were requested, in order.
    """

    faults: dict[str, list[Fault | None]] = field(default_factory=dict)
    lasting: dict[str, Fault] = field(default_factory=dict)
    validated_by_http: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, payload: Any, base: str) -> Reply:
        step = path.strip("/").split("/")[0]
        self.asked.append(step)
        waiting = self.faults.get(step)
        fault = waiting.pop(0) if waiting else self.lasting.get(step)
        if isinstance(fault, tuple):
            return fault
        usual = self._usual(step, path, payload, base)
        return usual if fault is None else fault(usual)

    def _usual(self, step: str, path: str, payload: Any, base: str) -> Reply:
        if not self.validated_by_http:
            return super().answer(path, payload, base)
        if step == "newOrder":
            status, headers, order = super().answer(path, payload, base)
            number = int(headers["Location"].rpartition("/")[2])
            made = self._made[number]
            order |= {
                "status": "pending",
                "authorizations": [f"{base}/authz/{number}/{i}" for i in range(len(made["names"]))],
            }
            for i, authz in enumerate(made["authz"]):
                url = f"{base}/challenge/{number}/{i}"
                challenge = {"type": "http-01", "url": url, "status": "pending", "token": "t" * 43}
                authz["challenges"] = [challenge]
            return status, headers, order
        if step == "challenge":
            _, order_id, index = path.strip("/").split("/")
            made = self._made[int(order_id)]
            authz = made["authz"][int(index)]
            authz["status"] = authz["challenges"][0]["status"] = "valid"
            if all(a["status"] == "valid" for a in made["authz"]):
                made["order"]["status"] = "ready"
            return 200, {}, authz["challenges"][0]
        return super().answer(path, payload, base)
