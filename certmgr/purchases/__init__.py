"""Purchases of one to three years: what they cover, when they must be reissued and bought again,
what is ahead and what it costs.
"""
