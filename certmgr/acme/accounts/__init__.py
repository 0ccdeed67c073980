"""ACME accounts (RFC 8555 7.3): registration, external binding, key rollover, a CA that moved."""
