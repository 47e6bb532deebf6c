"""Dated facts that ship with the package: regions, places, jurisdictions, measured round-trip times.

Each module reads its files on first use, once, and hands out frozen values. Importing reads nothing.
"""
