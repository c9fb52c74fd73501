"""Legs: what two collectors captured of the same feeds, merged hour by hour into one source."""
