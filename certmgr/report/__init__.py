"""The report that a client reads: one view model, a file a format."""
