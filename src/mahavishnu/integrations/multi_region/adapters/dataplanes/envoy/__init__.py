"""Envoy: plans as xDS resources, and the server that ships them."""
