"""ACME: accounts, orders, challenges, rate limits and renewal (RFC 8555, RFC 9773)."""
