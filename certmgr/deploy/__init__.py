"""Deployment of certificates: version directories, the switch of one link, reloads and rollback.

This package uses neither the database nor ACME.
"""
