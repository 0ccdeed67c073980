"""The inventory: tables, queries, parsing, import, export and migrations. No network access."""
