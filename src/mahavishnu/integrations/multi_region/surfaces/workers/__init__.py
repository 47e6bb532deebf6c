"""Routing in several processes: one controller decides what is, workers answer from its newest snapshot."""
