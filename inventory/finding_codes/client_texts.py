"""What a client has to do if we host and install.

The instructions of the codes are then for our staff; only clients who host elsewhere get them.
Clients must never send a private key, so the key is created where it is used, and the order is
placed with its CSR.
"""

CSR = "ask us first for the request file (CSR)"
RENEW = (
    "Renew the certificate of {host} where you bought it: " + CSR + ", and send us the new"
    " certificate (never a key). We install it."
)
ORDER = (
    "Order a certificate for {host} from a vendor of your choice: " + CSR + ", and send us the"
    " certificate (never a key). We install it."
)
REISSUE = (
    "Have the certificate of {host} issued again where you bought it: " + CSR + ", and send us the"
    " new certificate (never a key). We install it."
)
OTHER_ISSUER = (
    "Ask your vendor for a certificate for {host} from another CA certificate than {certificate}: "
    + CSR
    + ", and send us the certificate (never a key). We install it."
)
