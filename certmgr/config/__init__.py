"""The configuration: a TOML file and environment variables, as checked values."""
