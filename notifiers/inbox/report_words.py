"""What a mail system reports if it sends no report in a standard form. Pure.

RFC 3464 and the known forms of plain bounces are read elsewhere; this is for all other systems. A
status code needs no language.
"""

from __future__ import annotations

import re

from inventory.vocabulary import InboundKind


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_DELAYED = _any(
    r"\bwill (?:be retried|keep|continue|retry|try)\b",
    r"\bstill being\b",
    r"\bwarning message only\b",
    r"\bdelayed\b",
    r"\btemporar",
    r"\bverzögert",
    r"\berneut versucht",
    r"\bretardé",
    r"\bretrasad",
    r"\bvorübergehend",
    r"\bversucht (?:es |weiterhin)",
    r"\bzustellung unvollständig",
    r"\bdifférée?\b",
    r"\bréessaie?ra",
    r"\bin ritardo\b",
    r"\britardat",
    r"\bse (?:reintentará|volverá a intentar)",
    r"\badiad[ao]\b",
    r"\bvertraagd",
    r"\bopóźnion",
    r"\bförsenad",
    r"\bforsinket",
    r"\bзадерж",
    r"\bповторн",
    r"\b4\.\d{1,3}\.\d{1,3}\b",
)
# A warning that announces another try is no failure, whatever reason it quotes.
_TRIED_AGAIN = _any(
    r"\bwarning(?: message)? only\b",
    r"\bstill (?:being retried|undelivered after)\b",
    r"\bwill (?:be retried|keep trying|retry for)\b",
    r"\b(?:attempts will continue|continue to be made)\b",
    r"\bversucht (?:es noch|weiterhin)",
)
# Gmail promises in each warning to report a later failure.
_IF_IT_FAILS = _any(r"\bif [^.]{0,60}\bfails? permanently", r"\bwenn [^.]{0,60}\bdauerhaft fehl")
_GIVEN_UP = _any(
    r"\b(?:given|giving|gave) up\b",
    r"\bpermanent",
    r"\b5\.\d{1,3}\.\d{1,3}\b",
    r"\b55[0-4]\b",
)
# The actions of RFC 3464 2.3.3; some systems write others, such as "failure" or "error".
ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")
_REFUSED = _any(r"\b(?:automatically|was|been) (?:rejected|refused)\b", r"\bquota exceeded\b")
# The beginning of a subject that mail systems write, and no person without "Re:" or "Fwd:".
_SUBJECT = _any(
    r"(?:\W{0,5})(?:undeliver(?:able|ed)|returned mail|mail returned|failure notice|nondeliverable"
    r"|non[- ]?delivery|mail (?:system )?error|rejected mail)\b",
    r"(?:permanent |mail |message |e-?mail |final |your )*(?:delivery|could not be delivered)"
    r"[- ](?:status|failure|failed|problem|error|notification|delay|warning|incomplete|report)",
    r"(?:mail|message|e-?mail|your message)(?: to \S+)? (?:could|was|has) not"
    r" (?:be |been )?deliver",
    r"(?:warning|alert): (?:could not send|message .{0,60}delayed|.{0,80}user unknown)",
    r"(?:message|mail) (?:delivery )?(?:delayed|rejected|undeliverable|not delivered)",
    r"\W{0,5}message you sent blocked|postmaster notify: delivery",
    r".{0,40}(?:退信|退回|投递失败|投遞失敗|配信不能|配信できません|不達)",
    r".{0,20}(?:전송 ?실패|반송)",
    r"unzustellbar|nicht zugestellt|unzustellbare nachricht|zustellung fehlgeschlagen",
    r"non remis|échec de la remise|message non remis|non recapitabile|mancato recapito",
    r"no entregado|no se puede entregar|não entregue|onbestelbaar|niedostarczon",
    r"nedoručiteln|nedoručen|kézbesíthetetlen|olevererbar|går inte att leverera|не доставлено",
)
# The subjects of mails that are returned for good. No system writes them above a warning.
_RETURNED = _any(
    r"\breturned mail\b|\breturned to sender\b|\breturning message to sender\b",
    r"\bfailure notice\b|\bmail system error\b|\bundeliverable mail\b",
    r"\bmail not delivered\b|\bdelivery failure\b|\bblocked by our\b|\bpermanent delivery\b",
    r"退信|退回|投递失败|投遞失敗|配信不能|配信できません|不達|전송 ?실패|반송",
)
_FAILED = _any(
    r"\baddress (?:not found|rejected)",
    r"\b(?:user|recipient|mailbox) (?:is )?(?:unknown|not found|unavailable)",
    r"\bunknown (?:user|recipient)",
    r"\bno such (?:user|mailbox|recipient)",
    r"\b(?:wasn[’']t|was not|couldn[’']t|could not) (?:be )?(?:found|delivered)",
    r"\bunable to deliver",
    r"\b(?:not|never) been delivered",
    r"\bdid not (?:receive|reach)\b",
    r"\bwas blocked by\b",
    r"\baccount is disabled",
    r"未能(?:送达|送達|投递)|无法(?:发送|投递|送达)|無法(?:傳送|投遞)|退回|配信できません",
    r"送信できませんでした|배달(?:되지|할 수)|전송할 수 없",
    r"\bundeliver",
    r"\bdelivery (?:has )?failed",
    r"\b(?:trying|attempting|failed) to deliver",
    r"\bnicht zugestellt werden",
    r"\bdauerhafter fehler",
    r"\bn[’']a pas pu être (?:livré|remis|distribué)",
    r"\bno se (?:pudo|ha podido) entregar",
    r"\bnon è stato possibile (?:consegnare|recapitare)",
    r"\bnon (?:è|e['’]) stat[oa] (?:consegnat|recapitat)",
    r"\bmancat[ao] (?:consegna|recapito)",
    r"\badresse (?:wurde )?nicht gefunden",
    r"\bkonnte nicht (?:gefunden|zugestellt)",
    r"\bwurde nicht .{0,330}\bzugestellt",
    r"\bunzustellbar",
    r"\bfehler bei der nachrichtenzustellung",
    r"\badresse introuvable",
    r"\bn[’']est pas parvenu",
    r"\bnon remis\b",
    r"\bno entregado",
    r"\bnão (?:foi|pôde ser) entregue",
    r"\bkon niet worden (?:bezorgd|afgeleverd)",
    r"\bonbestelbaar",
    r"\bnie (?:mogła|może|został[ao]?) (?:zostać )?dostarczon",
    r"\bniedostarczon",
    r"\bnedoručiteľn",
    r"\bnelze doručit",
    r"\bkunde inte levereras",
    r"\bkunne ikke leveres",
    r"\bне (?:может быть|было|удалось) достав",
    r"\bнедоставлен",
)


def reported_kind(words: str) -> InboundKind:
    """Return bounce, delay or uncertain, from the subject and the text of a mail system."""
    if tried_again(words):
        return InboundKind.DELAY
    given_up = _GIVEN_UP.search(words) is not None
    # A warning names the same failures as the bounce that may follow.
    if _DELAYED.search(words) and not given_up:
        return InboundKind.DELAY
    # What it reports is unknown: staff read it.
    return InboundKind.BOUNCE if given_up or _FAILED.search(words) else InboundKind.UNCERTAIN


def tried_again(words: str) -> bool:
    """Return whether a mail system states that it will try again, and that it did not give up."""
    certain = _IF_IT_FAILS.sub(" ", words)
    return _TRIED_AGAIN.search(certain) is not None and _GIVEN_UP.search(certain) is None


def reported_action(report: str) -> tuple[str, str]:
    """Return action and status code of a delivery report, in lower case; empty if it has none.

    A report may list several addresses, if the one of the notice stands for several people: the
    worst of them counts, with its own code.
    """
    found = []
    for block in re.split(r"\n[^\S\n]*\r?\n", report):
        action = re.search(r"^action\s*:\s*([a-z]+)", block, re.I | re.M)
        status = re.search(r"^status\s*:\s*([245]\.\d{1,3}\.\d{1,3})", block, re.I | re.M)
        if action or status:
            found.append((action[1].lower() if action else "", status[1] if status else ""))
    order = {"failed": 0, "delayed": 1, "": 3}
    return min(found, key=lambda pair: order.get(pair[0], 2), default=("", ""))


def refused(words: str) -> bool:
    """Return whether a mailbox or its filter refused a mail."""
    return _REFUSED.search(words) is not None


def returned_subject(subject: str) -> bool:
    """Return whether a subject states that a mail is returned, and not only delayed."""
    return _RETURNED.search(subject) is not None


def failure_subject(subject: str) -> bool:
    """Return whether a subject is that of a report about a mail that was not delivered."""
    return _SUBJECT.match(subject.strip()) is not None
