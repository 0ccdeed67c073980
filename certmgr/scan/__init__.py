"""From endpoints to evidence: resolve, dial, STARTTLS, TLS and pages.

This package judges nothing.
"""
