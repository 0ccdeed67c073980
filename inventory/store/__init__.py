"""Queries and changes, a file a subject.

Reads take a connection, changes a :class:`inventory.database.Tx` and are audited.
"""
