"""Diagnosis of a URL for the support desk: what a visitor sees, step by step, and one outcome."""
