"""Domain control validation: one module per challenge type.

The configuration selects a solver and its options.
"""
