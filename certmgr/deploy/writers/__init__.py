"""Writers: one file per kind of target, behind the interface in ``interface.py``."""
