"""Evidence -> findings.

Pure: the same evidence gives the same findings tomorrow; ``now`` is a parameter.
"""
