"""From the inventory to notices: collect topics, recheck them before sending, announcements.

Public: :mod:`certmgr.notices.run` (a run of notices with all its parts),
:mod:`certmgr.notices.setup` (channels and rules of the configuration) and
:mod:`certmgr.notices.broadcast`.
"""
