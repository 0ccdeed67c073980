"""When a certificate is renewed, and the run that renews all that are due."""
