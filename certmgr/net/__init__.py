"""The network: guarded addresses, DNS questions, HTTP exchanges and client, downloads."""
