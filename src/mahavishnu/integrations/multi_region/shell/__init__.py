"""Observes, asks the core, acts, records."""
