"""What we do: scan, check, coordinate, report; the command line.

Imports from ``notifiers`` and ``inventory``.
"""

__version__ = "0.1.0"
