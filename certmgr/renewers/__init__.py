"""Who renews the certificate of a name: one answer for the whole program.

Incidents, cases, the forecast, purchases, notices, reports, ``domain show`` and ``diagnose`` ask
this room, so that no two of them disagree about a name.

Public: :mod:`certmgr.renewers.renewer` (the pure decision) and :mod:`certmgr.renewers.load` (its
facts from the inventory).
"""
