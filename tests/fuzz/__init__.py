"""Fuzzing: each parser of foreign bytes with mutated inputs, coverage-guided in ``make soak``.

python -m tests.fuzz certificate --seconds 60     fuzz one target; a failing input is printed
"""
