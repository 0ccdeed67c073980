"""Dated rules, and how each domain stands against them."""
