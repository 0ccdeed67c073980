"""Placing certificates: version directories, the switch of one link, programs that reload servers,
and when to go back. Knows neither database nor ACME.
"""
