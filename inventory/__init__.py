"""What we know: the model, parsing, tables, queries, import and export, migrations. No network."""
