"""How control of a name is shown: one file a way.

What each of them may do stands in the configuration.
"""
