"""The takeover of certificates that another ACME client renews, and its undo."""
