"""Sentences and instructions by code and language, shared by notices, reports and the terminal."""
