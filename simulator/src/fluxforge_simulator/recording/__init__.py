"""Recordings: real captures, played back to real clients."""
