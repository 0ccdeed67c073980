"""In and out: what an import would change (plan.py), and a file a format."""
