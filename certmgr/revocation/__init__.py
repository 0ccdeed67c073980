"""Whether a certificate was revoked: by its CA's list, by a staple; and what else the DNS says of
it (CAA, DANE), for the whole inventory.
"""
