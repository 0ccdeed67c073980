"""Scheduled work that is spread over machines: scans, renewals, revocation, cases and notices.

A worker (``certmgr worker``) takes jobs from the queues of its machine. The queues are tables of
Procrastinate in the PostgreSQL database of the inventory. ``certmgr run`` defers the work and waits
for it. With SQLite, and without workers, everything runs in one process (certmgr/operations).

Public: :mod:`spread_run` and :mod:`spread_scan` for commands that wait, :mod:`service` for workers.
"""

# The package imports nothing, because the library of the queues is an optional extra.
