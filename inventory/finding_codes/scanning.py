"""Findings about the scan, and about what only some vantage points see."""

from inventory.finding_codes.kinds import FindingCode, FindingText, Layer, Responsible, Visitor
from inventory.vocabulary import Severity

SCANNING: dict[str, FindingCode] = {
    "too-large": FindingCode(
        severity=Severity.UNDETERMINED,
        role=Responsible.HOST,
        layer=Layer.TRANSPORT,
        visitor=Visitor.UNKNOWN,
        text=FindingText(
            "too large to read",
            "We could not read everything that the server of {host} sends: {reason}.",
            "At {addresses}: a handshake should hold only the leaf and its intermediates; a"
            " page should be readable in its first megabyte.",
        ),
    ),
    "scanner-error": FindingCode(
        severity=Severity.UNDETERMINED,
        role=Responsible.STAFF,
        layer=Layer.TRANSPORT,
        visitor=Visitor.UNKNOWN,
        text=FindingText(
            "could not be checked",
            "We could not check {host}: {error}{reason}.",
            "The cause is on the machine that scans. The client does not need to do anything.",
        ),
    ),
    # What only some vantage points see. Staff read it, and never a client.
    "zone-difference": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.STAFF,
        layer=Layer.ZONES,
        visitor=Visitor.PLACES,
        text=FindingText(
            "differs by vantage point",
            "{host} does not look the same from all vantage points ({zones}).",
            "Compare what {seen} and {missing} see.",
        ),
        when={
            "reach": "If some vantage points do not reach it",
            "verdict": "If they see other faults",
            "certificate": "If they see other certificates",
            "dns": "If they see other addresses",
        },
        variants={
            "reach": FindingText(
                "not reachable from {missing}",
                "{host} is reachable from {seen}, and not from {missing}: {reason}.",
                "Find out whether a geo block, a firewall or a route keeps {missing} out. If"
                " it is intended, accept the finding, or end the assignment (certmgr zone"
                " unassign).",
            ),
            "verdict": FindingText(
                "{codes} only from {seen}",
                "{host} shows {codes} to {seen}, and not to {missing}.",
                "Compare the addresses of {host} from both vantage points. Often one server of"
                " several, or one place of a content network, still has an old state.",
            ),
            "certificate": FindingText(
                "other certificate for {missing}",
                "{host} shows other certificates to {missing} than to {seen}.",
                "If a content network or several servers serve {host}, this is usual."
                " Otherwise find out who answers to {missing}.",
            ),
            "dns": FindingText(
                "other addresses for {missing}",
                "{host} has other addresses in the DNS of {missing} than in that of {seen}.",
                "If the DNS of {host} answers by location, this is usual. Otherwise compare"
                " its name servers.",
            ),
        },
    ),
}
