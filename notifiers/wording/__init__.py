"""Texts by code and language, shared by notices, reports and the command line.

English texts stand in a module per subject; ``locale`` has the catalogues of other languages.

Public: :mod:`notifiers.wording.catalogue` (a language), :mod:`notifiers.wording.sentences` (the
sentences of a finding), :mod:`notifiers.wording.scope` (evidence that a client may see), and the
modules of texts.
"""
