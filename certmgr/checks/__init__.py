"""From evidence to findings.

Pure: the same evidence always gives the same findings. ``now`` is a parameter.
"""
