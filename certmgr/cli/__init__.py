"""The command line: parse, call one function of the core, render.

Heavy libraries are imported inside the commands.
"""
