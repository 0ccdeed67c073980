"""The report for a client: one view model, and one module per format."""
