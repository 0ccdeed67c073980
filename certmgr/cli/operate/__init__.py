"""The commands under Operate: configuration, scheduled work, workers, monitoring, the database."""
