"""Endpoints -> evidence: resolve, dial, STARTTLS, TLS. Everything seen, nothing judged."""
