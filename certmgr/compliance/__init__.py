"""Dated rules, and how each domain complies with them."""
