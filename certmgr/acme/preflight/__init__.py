"""What would prevent a certificate, asked before an order is placed."""
