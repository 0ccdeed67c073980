"""Revocation lists, CAA and DANE for the whole inventory: what no handshake shows."""
