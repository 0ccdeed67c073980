"""One ACME order, from its recorded intent to the stored certificate, and its revocation."""
