"""The finding codes: a contract (docs/findings.md).

One entry per code, in the file of its subject: severity, role, layer, texts and explanation. The
check that finds it is a function in ``certmgr/checks/``. Text of rows is never used as a template:
``notifiers/wording/sentences.py`` fills the placeholders with printable values.
"""

from __future__ import annotations

from collections.abc import Mapping

from inventory.finding_codes.certificate import CERTIFICATE
from inventory.finding_codes.chain import CHAIN
from inventory.finding_codes.connection import CONNECTION
from inventory.finding_codes.issuance import ISSUANCE
from inventory.finding_codes.kinds import (
    FindingCode,
    FindingText,
    Fix,
    Layer,
    Responsible,
    Visitor,
)
from inventory.finding_codes.page import PAGE
from inventory.finding_codes.scanning import SCANNING

__all__ = (
    "CODES",
    "ISSUER_UNKNOWN",
    "LAYERS_NOT_SCANNED",
    "STAPLE",
    "FindingCode",
    "FindingText",
    "Fix",
    "Layer",
    "Responsible",
    "Visitor",
    "layer_of",
)

# In the order in which a visitor meets the faults: documentation and catalogues keep it.
CODES: Mapping[str, FindingCode] = {
    **CONNECTION,
    **CERTIFICATE,
    **CHAIN,
    **ISSUANCE,
    **PAGE,
    **SCANNING,
}

# A scan neither opens nor closes findings of these layers.
LAYERS_NOT_SCANNED = frozenset({Layer.REVOCATION, Layer.POLICY, Layer.ZONES})
STAPLE = "staple"
"""The ``source`` of a ``revoked`` from a staple: a scan checks it, and may close it."""
ISSUER_UNKNOWN = "issuer-unknown"
"""The variant of ``chain-incomplete`` if the issuer is not known here."""


def layer_of(code: str, source: object = None) -> Layer:
    """Return the layer of a finding; ``source`` is that of its evidence.

    A code that this version does not know has the layer certificate.
    """
    if code == "revoked" and source == STAPLE:
        return Layer.CERTIFICATE
    return CODES[code].layer if code in CODES else Layer.CERTIFICATE
