"""What a visitor sees at a URL, step by step, for the support desk; it ends with exactly one of
three outcomes.
"""
