"""The dashboard of an administrator: the whole inventory on one page, which is one HTML file.

Public: :mod:`certmgr.dashboard.load` (facts from the inventory), :mod:`certmgr.dashboard.view` (the
pure decisions), :mod:`certmgr.dashboard.html` (the page) and :mod:`certmgr.dashboard.server`.
"""

# The package imports nothing, so that other commands do not load the page and its templates.
