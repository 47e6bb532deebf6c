"""Measures what the documentation promises; each module runs by itself: ``python -m benchmarks.NAME``."""
