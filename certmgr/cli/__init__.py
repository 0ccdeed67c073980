"""The command line: parse, call one function of the core, render.

``main`` lists the commands under the headings of ``--help``; each heading has a package here, and a
module is imported only when one of its commands runs. The modules that stand here directly are
shared by all: the context of a command, errors, tables, progress, logs.
"""
