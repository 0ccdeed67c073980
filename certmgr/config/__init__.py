"""The configuration: a TOML file and environment variables, as checked values.

``settings`` holds the values, ``loading`` reads them, ``checks`` refuses invalid ones. ``context``
is what every operation with effects takes.
"""
