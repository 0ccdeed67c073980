"""Installations of other ACME clients: a file per client reads one, and ``registry.py`` lists them.

Readers change nothing. Hooks and configuration files of other clients are shell text, which is
parsed as far as it is plain, displayed, and never run.
"""
