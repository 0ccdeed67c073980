"""The delivery of a certificate to its servers, and the verification that it is served."""
