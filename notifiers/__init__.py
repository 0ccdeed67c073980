"""Who is told what, and when. Imports from ``inventory`` only."""
