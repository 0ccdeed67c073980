"""Queries and changes, a file a subject.

Reads take a connection, changes a :class:`inventory.db.database.Tx` and are audited.
"""
