"""One run of notices: thresholds, decisions, recipients, limits and messages.

``run`` leads through the stages; all of them but ``run`` and ``record`` are pure.
"""
