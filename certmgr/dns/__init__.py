"""DNS questions of policy: CAA, TLSA, and what each authoritative server says.

Addresses of endpoints are certmgr/scan/resolve.py's.
"""
