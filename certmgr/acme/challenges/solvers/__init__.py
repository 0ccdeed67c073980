"""The kinds of solvers: a module per kind, whose name is that of the kind in the configuration.

To add one, write a module that declares ``SOLVER``, a
:class:`~certmgr.acme.challenges.interface.SolverKind`. The check of the configuration, the commands
and ``docs/acme.md`` (``make docs``) find it through ``certmgr/acme/challenges/kinds.py``. Its
settings are keys of ``SolverSettings``; what another kind does not need goes into ``credentials``,
as ``NAME=VALUE``.
"""
