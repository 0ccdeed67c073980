"""The verdict is the browser's: situations that the installed Chromium and certmgr both judge.

The rule of every situation: if Chromium opens the page, certmgr has no critical finding; if it
shows an error page, certmgr has one, and ``certmgr diagnose`` names the same net error.

Chromium and certmgr get the same CAs: Chromium from an NSS database, certmgr from ``--ca-file``.
Chromium judges what such a CA issued as private. Rules that hold for public roots only cannot be
shown this way, and are tested elsewhere: Certificate Transparency, the maximum lifetime, revocation
lists of the browser, dates of distrust.

=================== ==========================================================================
module              what it holds
=================== ==========================================================================
``der.py``          certificates field by field, well-formed or not
``pki.py``          keys, CAs and leaves, each made once per process
``serving.py``      what a server of a situation does with a connection
``situations.py``   :class:`Situation` and :class:`Group`
``judges.py``       a visit with Chromium; a scan and a diagnosis with certmgr
``agreement.py``    the rules, and the intended differences
other modules       the situations, by subject
=================== ==========================================================================

``python -m tests.certmgr.browser [GROUP | GROUP/NAME]...`` prints a table of all situations.
"""
