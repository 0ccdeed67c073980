"""The demonstration: a dozen TLS sites on loopback with certificates of a local CA."""
