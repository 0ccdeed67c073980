"""The database: engine and transactions, the audit chain, locks, migration, backup, restore."""
