"""Traces of decisions, for who collects them."""
