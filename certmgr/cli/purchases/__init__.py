"""The commands of ``certmgr purchase``: certificates bought for years."""
