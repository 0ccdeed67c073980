"""Help, explanations, manual pages and shell completion."""
