"""The configuration: a TOML file and environment variables, as checked values.

``settings`` and ``acme`` hold the values, ``loading`` reads them, and ``checks`` refuses invalid
ones. ``secret_values`` resolves secrets when they are used. ``context`` is what every operation
with effects takes.
"""
