"""Certificate installations that a client and the provider coordinate.

A case covers the request, key, CSR, certificate and installation window. It ends with the
verification that the certificate is live.

Public: :mod:`certmgr.cases.service` and the modules of its actions (``new_case``,
``signing_requests``, ``intake``, ``agreement``, ``installation``, ``assignment``),
:mod:`certmgr.cases.states` (the table of states), :mod:`certmgr.cases.opening` (the part of
``certmgr run``), ``incident`` and its modules, and what notices ask for: ``topics``,
``purchase_topics`` and ``inbound``.
"""
