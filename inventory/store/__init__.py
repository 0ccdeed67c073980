"""Queries and changes, a module per noun.

Reads take a connection; changes take a :class:`inventory.db.database.Tx` and are audited.
"""
