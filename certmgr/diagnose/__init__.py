"""Diagnosis of a URL for the support desk: what a visitor sees, step by step, and one outcome.

Public: :mod:`certmgr.diagnose.examination` (a whole diagnosis), :mod:`certmgr.diagnose.question`
(the URL that a client names), and what ``domain show`` uses too: ``history`` and ``notice_status``.
"""
