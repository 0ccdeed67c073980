"""Dated rules, and how each domain complies with them.

Public: :mod:`certmgr.compliance.milestones` (the rules of browsers and CAs),
:mod:`certmgr.compliance.load` (the provider's deadlines, and the facts of each domain) and
:mod:`certmgr.compliance.assessment` (the pure judgement).
"""
