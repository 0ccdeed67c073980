"""The network outside of a scan: guarded addresses, DNS questions, one HTTP exchange, downloads."""
