"""X.509 beyond parsing: trust paths, signatures, CSRs, key files, PKCS#12, CRLs, vendor uploads."""
