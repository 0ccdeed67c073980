"""The delivery of a certificate to its servers, and the proof that it is served."""
