"""Certificate installations that a client and the provider coordinate.

A case covers the request, key, CSR, certificate and installation window. It ends with the
verification that the certificate is live.
"""
