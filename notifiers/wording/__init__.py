"""Texts by code and language, shared by notices, reports and the command line."""
