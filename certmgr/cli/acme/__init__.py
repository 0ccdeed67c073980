"""The commands under ACME: accounts, issuance, renewal and lineages."""
