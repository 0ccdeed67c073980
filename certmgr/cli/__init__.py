"""The command line: parse, call one function of the core, render.

``main`` lists the commands; a module is imported only when one of its commands runs.
"""
