"""Whole scenes of a provider: what its parts show agrees, from the event to the last message."""
