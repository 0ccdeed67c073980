"""Certificate purchases of one to three years: coverage, reissues, renewals, forecast and cost.

Public: :mod:`certmgr.purchases.model` (the values), :mod:`certmgr.purchases.load` (purchases of the
inventory), :mod:`certmgr.purchases.terms` (certificates and deadlines of a term; pure),
``coverage``, ``planning`` (the forecast), ``compare`` and ``billing``.
"""
