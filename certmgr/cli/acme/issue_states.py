"""Symbols and words for the states of an issuance or a deployment."""

from __future__ import annotations

from certmgr.acme.results import DeployState, IssueState

# A state without a symbol is a failure; the callers print "✗" for it.
SYMBOLS: dict[str, str] = {
    IssueState.WAITS: "…",
    IssueState.HELD: "!",
    IssueState.BUSY: "…",
    DeployState.UNDETERMINED: "?",
}
# A state that is missing here is printed with its stored name.
WORDS: dict[str, str] = {
    IssueState.WAITS: "postponed",
    IssueState.HELD: "waits for your approval",
    IssueState.BUSY: "in use by another process",
    IssueState.FAILED: "failed",
    DeployState.UNDETERMINED: "deployed; whether it is live is undetermined",
    DeployState.UNSEEN: "deployed, but not live",
    DeployState.ROLLED_BACK: "rolled back",
    DeployState.STAFF: "an administrator has to act",
}
