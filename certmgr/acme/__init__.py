"""ACME: accounts, orders, challenges, limits, renewal (RFC 8555, RFC 9773)."""
