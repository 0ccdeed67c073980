"""Checks of what would prevent issuance, before an order is placed."""
