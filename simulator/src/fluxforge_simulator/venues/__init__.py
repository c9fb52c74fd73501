"""Venues: the wire protocols of market mode, one module each."""
