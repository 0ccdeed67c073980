"""Installations that client and provider coordinate: from the request, over key, CSR, certificate
and window, to the proof that it is live.
"""
