"""The connection to a CA: signed requests, sessions of accounts, its answers and its errors."""
