"""The database: engine and transactions, the audit chain, locks, migration, backup, restore.

Public: :mod:`inventory.db.opening` (open it), :mod:`inventory.db.database` (transactions and
times), :mod:`inventory.db.sql` (what the queries of the store share),
:mod:`inventory.db.maintenance` and :mod:`inventory.db.restore`.
"""
