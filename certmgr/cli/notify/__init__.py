"""The commands under Notify: the notices that are due, and their queue."""
