"""Notices: who is notified of what, and when. Imports only from ``inventory``."""
