"""A scan run from end to end, and the verification that a certificate is live.

``scan_run`` starts the processes (``pool``) whose workers (``worker``) collect evidence and judge
it; ``reconcile`` decides what findings open and close; ``status`` reads the result.
"""
