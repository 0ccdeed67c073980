"""The shop window: a dozen TLS sites on loopback with certificates of a CA of its own, inspected
and explained.
"""
