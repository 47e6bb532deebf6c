"""Data planes that plans are published to."""
