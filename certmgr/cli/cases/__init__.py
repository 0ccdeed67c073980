"""The commands of ``certmgr case`` and ``certmgr incident``: installations with clients."""
